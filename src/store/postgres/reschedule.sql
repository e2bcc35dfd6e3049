-- Puts a delivery back for a later attempt: $1 key, $2 token, $3 delivery, $4 ms until the next attempt, $5 whether the
-- holder has known that it may have been sent. The delivery itself says so then, and otherwise the row, if `doubt` has
-- come meanwhile. A sender may have a 2xx for it afterwards.
--
-- No row: the token is late.
UPDATE sluice_delivery AS d
SET delivery = $3,
    accepted = true,
    token = NULL,
    maybe_sent = d.maybe_sent AND NOT $5,
    due = sluice_clock() + $4::int8
WHERE d.key = $1 AND d.token = $2
RETURNING d.key
