-- Notes that a sender gets a 2xx for a delivery that is still under way. By its holder, or by a sender that has waited
-- for the holder in vain: $1 key, $2 id.
--
-- No row: it is settled, or its key is free, so the sender claims it once more.
UPDATE sluice_delivery AS d
SET accepted = true
WHERE d.key = $1 AND d.id = $2 AND d.state = 'pending'
RETURNING d.key
