-- Finds pending deliveries or dead letters whose workflow, run or topic contains a text, ignoring ASCII case: $1 state,
-- $2 the id after which the search begins, $3 the text in lower case, $4 the greatest number of rows that are read,
-- $5 of rows that are returned.
--
-- At least one row. `scanned` and `last` are the number of rows that were read, and the id of the last one; without a
-- match, `id` is NULL.
WITH page AS MATERIALIZED (
    SELECT d.id, d.key, d.reference, d.topic
    FROM sluice_delivery AS d
    WHERE d.state = $1 AND d.state <> 'delivered' AND d.id > $2
    ORDER BY d.id
    LIMIT $4::int8
)
SELECT (SELECT count(*) FROM page)::int8 AS scanned,
    (SELECT max(page.id) FROM page) AS last,
    found.id,
    (SELECT d.delivery FROM sluice_delivery AS d WHERE d.key = found.key) AS delivery
FROM (VALUES (1)) AS one
LEFT JOIN LATERAL (
    SELECT page.id, page.key
    FROM page
    WHERE position($3::text IN lower(page.reference)) > 0 OR position($3::text IN lower(page.topic)) > 0
    ORDER BY page.id
    LIMIT $5::int8
) AS found ON true
ORDER BY found.id
