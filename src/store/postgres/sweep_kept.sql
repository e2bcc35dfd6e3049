-- Deletes kept payloads whose time is over, at most $1. Returns the number of deleted rows.
WITH gone AS (
    DELETE FROM sluice_kept AS k
    WHERE k.id = ANY (ARRAY(
        SELECT c.id
        FROM sluice_kept AS c
        WHERE c.expires <= sluice_now()
        ORDER BY c.expires
        LIMIT $1::int8
        FOR UPDATE SKIP LOCKED
    ))
    RETURNING 1
)
SELECT count(*)::int8 AS swept FROM gone
