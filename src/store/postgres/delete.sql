-- Deletes a pending delivery or a dead letter that is not under way: $1 id. Its key is free again.
DELETE FROM sluice_delivery AS d
WHERE d.state IN ('pending', 'dead') AND d.state <> 'delivered' AND d.id = $1
    AND (d.token IS NULL OR d.due <= sluice_now())
RETURNING d.key
