-- COUNT keys from one keyed event: the outcome that remains of each, under random hashes, in random order.
PRAGMA cache_size = -400000;
BEGIN;
CREATE TEMP TABLE template AS
    -- A name ends in half of a hash: 26 characters (src/store/key_value/names.rs).
    SELECT store, substr(key, 1, length(key) - 26) AS prefix, value FROM spin_key_value
    WHERE key GLOB 'sluice:done:*' LIMIT 1;
CREATE TEMP TABLE hashes AS
    WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < COUNT)
    SELECT hex(randomblob(13)) AS hash FROM n;
DELETE FROM spin_key_value WHERE key <> 'sluice:form';
INSERT INTO spin_key_value
    SELECT store, prefix || hash, value FROM hashes, template WHERE COUNT > 0 LIMIT COUNT;
COMMIT;
SELECT count(*) FROM spin_key_value WHERE key GLOB 'sluice:done:*';
