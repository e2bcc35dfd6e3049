-- Takes the first delivery of each queue if it is due, the longest due first: $1 token, $2 length of the lease in ms,
-- $3 their greatest number. Costs one step in the index for each queue. While a head isn't settled or dead, no other
-- delivery of its queue is taken.
WITH RECURSIVE head AS (
    (
        SELECT h.queue, h.seq, h.key, h.due
        FROM sluice_delivery AS h
        WHERE h.state = 'pending' AND h.queue IS NOT NULL
        ORDER BY h.queue, h.seq
        LIMIT 1
    )
    UNION ALL
    SELECT n.queue, n.seq, n.key, n.due
    FROM head
    CROSS JOIN LATERAL (
        SELECT h.queue, h.seq, h.key, h.due
        FROM sluice_delivery AS h
        WHERE h.state = 'pending' AND h.queue IS NOT NULL AND h.queue > head.queue
        ORDER BY h.queue, h.seq
        LIMIT 1
    ) AS n
)
UPDATE sluice_delivery AS d
SET maybe_sent = d.maybe_sent OR d.token IS NOT NULL,
    token = $1,
    due = sluice_clock() + $2::int8
WHERE d.key = ANY (ARRAY(
    SELECT c.key
    FROM sluice_delivery AS c
    WHERE c.key = ANY (ARRAY(SELECT head.key FROM head WHERE head.due <= sluice_now()))
        -- A head that was buried and redelivered since has another place.
        AND c.seq = ANY (ARRAY(SELECT head.seq FROM head))
        AND c.state = 'pending' AND c.due <= sluice_now()
    ORDER BY c.due
    LIMIT $3::int8
    FOR UPDATE SKIP LOCKED
))
RETURNING d.key, d.id, d.delivery, d.maybe_sent, d.accepted, d.due, sluice_clock() AS now
