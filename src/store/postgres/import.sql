-- Imports a delivery from another store: $1 key, $2 label, $3 id, $4 state, $5 digest, $6 reference, $7 topic,
-- $8 delivery, $9 body, $10 time in ms until it is due; only while pending, $11 received, $12 changed, $13 expires,
-- $14 queue, $15 the place in it. The delivery itself says whether it may have been sent.
--
-- One row, or none: then another contender has changed the key meanwhile, and the statement is run again. `standing` is
-- `new`, `there` if the delivery was imported before, or `held` by the delivery that the other columns describe.
WITH same AS MATERIALIZED (
    SELECT s.id, s.state, s.digest, s.accepted
    FROM sluice_delivery AS s
    WHERE s.state IN ('pending', 'dead') AND s.state <> 'delivered' AND s.id = $3
),
held AS MATERIALIZED (
    SELECT h.id, h.state, h.digest, h.accepted
    FROM sluice_delivery AS h
    WHERE h.key = $1 AND (h.state <> 'delivered' OR h.expires > sluice_now())
),
mine AS (
    INSERT INTO sluice_delivery AS d
        (key, label, id, state, digest, reference, topic, queue, seq, delivery, body, accepted, due, received, changed,
            expires)
    SELECT $1, $2, $3, $4, $5, $6, $7, $14, $15, $8, $9, true, sluice_clock() + $10::int8, $11, $12, $13
    WHERE NOT EXISTS (SELECT FROM same) AND NOT EXISTS (SELECT FROM held)
    ON CONFLICT (key) DO UPDATE SET
        label = excluded.label,
        id = excluded.id,
        state = excluded.state,
        digest = excluded.digest,
        reference = excluded.reference,
        topic = excluded.topic,
        queue = excluded.queue,
        seq = excluded.seq,
        delivery = excluded.delivery,
        body = excluded.body,
        accepted = excluded.accepted,
        token = NULL,
        maybe_sent = false,
        due = excluded.due,
        received = excluded.received,
        changed = excluded.changed,
        expires = excluded.expires
    WHERE d.state = 'delivered' AND d.expires <= sluice_now()
    RETURNING d.id, d.state, d.digest, d.accepted
)
SELECT 'new' AS standing, id, state, digest, accepted FROM mine
UNION ALL
SELECT 'there', id, state, digest, accepted FROM same
UNION ALL
SELECT CASE WHEN id = $3 THEN 'there' ELSE 'held' END, id, state, digest, accepted
FROM held
WHERE NOT EXISTS (SELECT FROM same)
