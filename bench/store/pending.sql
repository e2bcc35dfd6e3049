-- COUNT pending webhooks from one, for 64 workflows, in the order of their ids, all due. The drain notification stays.
PRAGMA cache_size = -400000;
BEGIN;
CREATE TEMP TABLE template AS
    SELECT store, substr(key, length('sluice:pending:') + 1) AS id,
           json_set(CAST(value AS TEXT), '$.next', 0) AS value
    FROM spin_key_value WHERE key GLOB 'sluice:pending:*' LIMIT 1;
-- A table, because each use of a common table expression would evaluate it again, with other random ids.
CREATE TEMP TABLE ids AS
    -- A ULID: the same time, then a counter, then random digits. Hexadecimal digits are valid in a ULID.
    WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < COUNT)
    SELECT i, substr(id, 1, 10) || printf('%08X', i) || hex(randomblob(4)) AS new FROM n, template;
DELETE FROM spin_key_value WHERE key NOT IN ('sluice:notify', 'sluice:form');
INSERT INTO spin_key_value
    SELECT store, 'sluice:pending:' || new,
           CAST(json_set(replace(value, id, new), '$.workflow', 'w' || (i % 64)) AS BLOB)
    FROM ids, template;
COMMIT;
SELECT count(*) FROM spin_key_value WHERE key GLOB 'sluice:pending:*';
