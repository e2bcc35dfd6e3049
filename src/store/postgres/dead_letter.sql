-- Makes a delivery a dead letter: $1 key, $2 token, $3 delivery, $4 the time in ms for which it still holds its key, or
-- NULL to free the key at once: the same delivery is then accepted as if it were new. $5 whether the holder has known
-- that it may have been sent, as for `reschedule`.
--
-- No row: the token is late.
UPDATE sluice_delivery AS d
SET key = CASE WHEN $4::int8 IS NULL THEN d.id ELSE d.key END,
    state = 'dead',
    delivery = $3,
    accepted = true,
    token = NULL,
    maybe_sent = d.maybe_sent AND NOT $5,
    due = NULL,
    changed = sluice_clock(),
    expires = sluice_clock() + $4::int8
WHERE d.key = $1 AND d.token = $2
RETURNING d.key
