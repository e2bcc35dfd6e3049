-- Treats pending deliveries as maybe sent, for an operator after a fail-over that may have lost commits: $1 the id
-- after which it begins, $2 their greatest number, $3 the time in ms for which they are left alone: a request that was
-- sent before may still be on its way. Returns their ids.
UPDATE sluice_delivery AS d
SET maybe_sent = true,
    due = greatest(d.due, sluice_clock() + $3::int8)
WHERE d.key = ANY (ARRAY(
    SELECT c.key
    FROM sluice_delivery AS c
    WHERE c.state = 'pending' AND c.state <> 'delivered' AND c.id > $1
    ORDER BY c.id
    LIMIT $2::int8
    FOR UPDATE
))
RETURNING d.id
