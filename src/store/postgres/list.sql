-- Lists pending deliveries or dead letters in order of arrival: $1 state, $2 the id after which the page begins (empty
-- for the first), $3 their greatest number.
SELECT d.id, d.delivery, d.maybe_sent, d.due, d.token IS NOT NULL AND d.due > sluice_now() AS under_way
FROM sluice_delivery AS d
WHERE d.state = $1 AND d.state <> 'delivered' AND d.id > $2
ORDER BY d.id
LIMIT $3::int8
