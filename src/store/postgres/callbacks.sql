-- Reads the callbacks of a run that are accepted or being sent, in order of arrival: $1 run, $2 their greatest number.
SELECT d.id, d.key, d.state, d.delivery, d.received, d.changed
FROM sluice_delivery AS d
WHERE d.reference = $1 AND d.topic IS NOT NULL AND d.state <> 'dead'
    AND (d.state <> 'delivered' OR d.expires > sluice_now())
ORDER BY d.id
LIMIT $2::int8
