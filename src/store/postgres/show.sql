-- Reads a pending delivery or a dead letter: $1 id. `under_way` says that somebody holds it.
SELECT d.key, d.label, d.state, d.delivery, d.maybe_sent, d.due,
    d.token IS NOT NULL AND d.due > sluice_now() AS under_way,
    sluice_clock() AS now
FROM sluice_delivery AS d
WHERE d.state IN ('pending', 'dead') AND d.state <> 'delivered' AND d.id = $1
