-- Lists the keys of delivered rows that have not expired, in the order of their bytes: $1 the key after which the page
-- begins (empty for the first), $2 their greatest number. Without the row of `probe`.
SELECT d.key
FROM sluice_delivery AS d
WHERE d.key > $1 AND d.key <> ':probe' AND d.state = 'delivered' AND d.expires > sluice_now()
ORDER BY d.key
LIMIT $2::int8
