-- Puts a delivery back for a later attempt: $1 key, $2 token, $3 delivery, $4 ms until the next attempt. The delivery
-- itself says whether it may have been sent. A sender may have a 2xx for it afterwards.
--
-- No row: the token is late.
UPDATE sluice_delivery AS d
SET delivery = $3,
    accepted = true,
    token = NULL,
    maybe_sent = false,
    due = sluice_clock() + $4::int8
WHERE d.key = $1 AND d.token = $2
RETURNING d.key
