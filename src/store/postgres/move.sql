-- Moves the claim of a callback from run and topic to a task that waits: $1 key, $2 token, $3 key of the task,
-- $4 delivery, $5 length of the lease in ms.
--
-- One row: `won`, or `held` by the callback that the other columns describe, and then nothing has changed. No row: the
-- token is late.
WITH held AS MATERIALIZED (
    SELECT h.* FROM sluice_delivery AS h WHERE h.key = $3
),
moved AS (
    UPDATE sluice_delivery AS d
    SET key = $3,
        label = $3,
        delivery = $4,
        due = sluice_clock() + $5::int8
    WHERE d.key = $1 AND d.token = $2 AND NOT EXISTS (SELECT FROM held)
    RETURNING d.*
)
SELECT 'won' AS standing, key, id, state, digest, accepted, changed, due, NULL::bytea AS delivery, body,
    sluice_clock() AS now
FROM moved
UNION ALL
SELECT CASE WHEN token = $2 THEN 'won' ELSE 'held' END, key, id, state, digest, accepted, changed, due, delivery, body,
    sluice_clock()
FROM held
