-- Lists runs with a record that has not expired, in the order of their bytes: $1 the run after which the page begins
-- (empty for the first), $2 their greatest number.
SELECT r.run
FROM sluice_run AS r
WHERE r.run > $1 AND r.expires > sluice_now()
ORDER BY r.run
LIMIT $2::int8
