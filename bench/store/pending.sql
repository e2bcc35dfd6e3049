-- Of one pending webhook COUNT, for 64 workflows, in the order of their ids, all due; the hint stays.
PRAGMA cache_size = -400000;
BEGIN;
CREATE TEMP TABLE template AS
    SELECT store, substr(key, length('sluice/pending/') + 1) AS id,
           json_set(CAST(value AS TEXT), '$.next', 0) AS value
    FROM spin_key_value WHERE key GLOB 'sluice/pending/*' LIMIT 1;
-- As a table: what is only named is worked out again, with other chance, wherever it is used.
CREATE TEMP TABLE ids AS
    -- A ULID: its time as it is, then a number, then chance. Hexadecimal digits are digits of a ULID as well.
    WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < COUNT)
    SELECT i, substr(id, 1, 10) || printf('%08X', i) || hex(randomblob(4)) AS new FROM n, template;
DELETE FROM spin_key_value WHERE key <> 'sluice/hint';
INSERT INTO spin_key_value
    SELECT store, 'sluice/pending/' || new,
           CAST(json_set(replace(value, id, new), '$.workflow', 'w' || (i % 64)) AS BLOB)
    FROM ids, template;
COMMIT;
SELECT count(*) FROM spin_key_value WHERE key GLOB 'sluice/pending/*';
