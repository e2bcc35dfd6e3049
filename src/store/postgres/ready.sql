-- Whether the schema exists, and the privileges that this role lacks, as a GRANT names them; NULL if it lacks none. $1
-- says whether the table of kept payloads is needed too. The schema's version is the note `schema`.
SELECT
    bool_and(o.is_granted IS NOT NULL) AS has_schema,
    string_agg(o.privilege || ' ON ' || o.name, ', ' ORDER BY o.name, o.privilege) FILTER (WHERE NOT o.is_granted) AS lacks
FROM (
    SELECT t.name, p.privilege, has_table_privilege(to_regclass(t.name), p.privilege) AS is_granted
    FROM (VALUES ('sluice_note'), ('sluice_delivery'), ('sluice_run'), ('sluice_kept')) AS t (name)
    CROSS JOIN (VALUES ('SELECT'), ('INSERT'), ('UPDATE'), ('DELETE')) AS p (privilege)
    WHERE $1 OR t.name <> 'sluice_kept'
    UNION ALL
    SELECT 'SEQUENCE sluice_seq', 'USAGE', has_sequence_privilege(to_regclass('sluice_seq'), 'USAGE')
) AS o
