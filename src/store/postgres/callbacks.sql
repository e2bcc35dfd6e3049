-- Reads the callbacks of a run that are accepted or being sent, in order of arrival: $1 run, $2 topic, or NULL for all,
-- $3 the id after which the page begins (empty for the first), $4 their greatest number.
SELECT d.id, d.key, d.state, d.delivery, d.received, d.changed
FROM sluice_delivery AS d
WHERE d.reference = $1 AND d.topic IS NOT NULL AND d.state <> 'dead' AND d.id > $3
    AND ($2::text IS NULL OR d.topic = $2)
    AND (d.state <> 'delivered' OR d.expires > sluice_now())
ORDER BY d.id
LIMIT $4::int8
