-- Deletes records of runs that have expired, at most $1. Returns the number of deleted rows.
WITH gone AS (
    DELETE FROM sluice_run AS r
    WHERE r.run = ANY (ARRAY(
        SELECT c.run
        FROM sluice_run AS c
        WHERE c.expires <= sluice_now()
        ORDER BY c.expires
        LIMIT $1::int8
        FOR UPDATE SKIP LOCKED
    ))
    RETURNING 1
)
SELECT count(*)::int8 AS swept FROM gone
