-- Deletes a delivery that neither the engine nor a 2xx has accepted: $1 key, $2 token. Its key is free again.
--
-- No row: a sender has a 2xx for it, so it becomes a dead letter instead; or the token is late.
DELETE FROM sluice_delivery AS d
WHERE d.key = $1 AND d.token = $2 AND NOT d.accepted
RETURNING d.key
