-- Finds pending deliveries or dead letters whose workflow, run or topic contains a text, ignoring ASCII case: $1 state,
-- $2 the id after which the search begins, $3 the text in lower case, $4 the greatest number of rows that are read,
-- $5 of rows that are returned, $6 the id before which it ends, $7 what the workflow begins with, or NULL for starts
-- and callbacks.
--
-- At least one row. `scanned` and `last` are the number of rows that were read, and the id of the last one; `place`
-- is that of a match among them; without a match, `id` is NULL.
WITH page AS MATERIALIZED (
    SELECT d.id, d.key, d.reference, d.topic
    FROM sluice_delivery AS d
    WHERE d.state = $1 AND d.state <> 'delivered' AND d.id > $2 AND d.id < $6
    ORDER BY d.id
    LIMIT $4::int8
)
SELECT (SELECT count(*) FROM page)::int8 AS scanned,
    (SELECT max(page.id) FROM page) AS last,
    found.place,
    found.id,
    (SELECT d.delivery FROM sluice_delivery AS d WHERE d.key = found.key) AS delivery
FROM (VALUES (1)) AS one
LEFT JOIN LATERAL (
    SELECT page.id, page.key, page.place
    FROM (SELECT p.id, p.key, p.reference, p.topic, row_number() OVER (ORDER BY p.id) AS place FROM page AS p) AS page
    WHERE (position($3::text IN lower(page.reference)) > 0 OR position($3::text IN lower(page.topic)) > 0)
        AND ($7::text IS NULL OR (page.topic IS NULL AND starts_with(page.reference, $7::text)))
    ORDER BY page.id
    LIMIT $5::int8
) AS found ON true
ORDER BY found.id
