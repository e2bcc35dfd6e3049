-- Deletes delivered rows that have expired, at most $1. Returns the number of deleted rows, and
-- whether there is a table of kept payloads to sweep, which an older schema lacks.
WITH gone AS (
    DELETE FROM sluice_delivery AS d
    WHERE d.key = ANY (ARRAY(
        SELECT c.key
        FROM sluice_delivery AS c
        WHERE c.expires <= sluice_now() AND c.state = 'delivered'
        ORDER BY c.expires
        LIMIT $1::int8
        FOR UPDATE SKIP LOCKED
    ))
    RETURNING 1
)
SELECT count(*)::int8 AS swept,
    has_table_privilege(to_regclass('sluice_kept'), 'UPDATE') IS TRUE
        AND has_table_privilege(to_regclass('sluice_kept'), 'DELETE') IS TRUE AS has_kept
FROM gone
