-- Begins the lease of a delivery anew, right before it is sent or its run is cancelled: $1 key, $2 token, $3 delivery,
-- or NULL to keep it, $4 length of the lease in ms.
--
-- No row: the token is late, and nothing is sent.
UPDATE sluice_delivery AS d
SET delivery = coalesce($3, d.delivery),
    due = sluice_clock() + $4::int8
WHERE d.key = $1 AND d.token = $2
RETURNING d.key
