-- Takes deliveries that are due, the longest due first: $1 token, $2 length of the lease in ms, $3 their greatest
-- number, $4 references that are left out, as a JSON list. Any number of drains run it side by side.
--
-- Run again after it broke, it takes others; the first ones are due again when their lease has run out.
UPDATE sluice_delivery AS d
SET maybe_sent = d.maybe_sent OR d.token IS NOT NULL,
    token = $1,
    due = sluice_clock() + $2::int8
WHERE d.key = ANY (ARRAY(
    SELECT c.key
    FROM sluice_delivery AS c
    WHERE c.state = 'pending' AND c.queue IS NULL AND c.due <= sluice_now()
        AND c.reference <> ALL (ARRAY(SELECT jsonb_array_elements_text($4::text::jsonb)))
    ORDER BY c.due
    LIMIT $3::int8
    FOR UPDATE SKIP LOCKED
))
RETURNING d.key, d.id, d.delivery, d.maybe_sent, d.accepted, d.due, sluice_clock() AS now
