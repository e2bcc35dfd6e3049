-- Takes a pending delivery or a dead letter, due or not, for an operator: $1 id, $2 token, $3 length of the lease in
-- ms. A dead letter is pending afterwards, takes its key back, and joins the end of its queue.
--
-- No row: it is under way, there is none, or another delivery has its key (`show`).
UPDATE sluice_delivery AS d
SET key = d.label,
    state = 'pending',
    seq = CASE WHEN d.state = 'dead' AND d.queue IS NOT NULL THEN nextval('sluice_seq') ELSE d.seq END,
    accepted = true,
    maybe_sent = d.maybe_sent OR (d.token <> $2) IS TRUE,
    token = $2,
    due = sluice_clock() + $3::int8,
    changed = sluice_clock(),
    expires = NULL
WHERE d.state IN ('pending', 'dead') AND d.state <> 'delivered' AND d.id = $1
    AND (d.token IS NULL OR d.token = $2 OR d.due <= sluice_now())
    AND (d.key = d.label OR NOT EXISTS (SELECT FROM sluice_delivery AS o WHERE o.key = d.label))
RETURNING d.key, d.id, d.delivery, d.maybe_sent, d.accepted, d.due, sluice_clock() AS now
