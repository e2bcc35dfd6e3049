-- Deletes delivered rows that have expired, at most $1. Returns the number of deleted rows.
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
SELECT count(*)::int8 AS swept FROM gone
