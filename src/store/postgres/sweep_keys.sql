-- Frees the keys of dead letters whose time has come, at most $1. The dead letters stay. Returns their number.
WITH freed AS (
    UPDATE sluice_delivery AS d
    SET key = d.id,
        expires = NULL
    WHERE d.key = ANY (ARRAY(
        SELECT c.key
        FROM sluice_delivery AS c
        WHERE c.expires <= sluice_now() AND c.state = 'dead'
        ORDER BY c.expires
        LIMIT $1::int8
        FOR UPDATE SKIP LOCKED
    ))
    RETURNING 1
)
SELECT count(*)::int8 AS swept FROM freed
