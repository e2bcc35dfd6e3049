-- Deletes notes about sources, at most $1, that were not written for $2 milliseconds. Returns the number of deleted rows.
WITH gone AS (
    DELETE FROM sluice_note AS n
    WHERE n.name = ANY (ARRAY(
        SELECT c.name
        FROM sluice_note AS c
        WHERE c.name >= 'source:' AND c.name < 'source:~' AND c.changed <= sluice_now() - $2::int8
        ORDER BY c.name
        LIMIT $1::int8
        FOR UPDATE SKIP LOCKED
    ))
    RETURNING 1
)
SELECT count(*)::int8 AS swept FROM gone
