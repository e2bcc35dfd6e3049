-- COUNT keys from one keyed event: its three keys under random hashes, in random order.
PRAGMA cache_size = -400000;
BEGIN;
CREATE TEMP TABLE template AS
    -- A hash has 52 characters (src/delivery/key.rs).
    SELECT store, substr(key, 1, length(key) - 52) AS prefix, value FROM spin_key_value
    WHERE key GLOB 'sluice/door/*' OR key GLOB 'sluice/flag/*' OR key GLOB 'sluice/done/*';
CREATE TEMP TABLE hashes AS
    WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < (COUNT + 2) / 3)
    SELECT lower(hex(randomblob(26))) AS hash FROM n;
DELETE FROM spin_key_value;
INSERT INTO spin_key_value
    SELECT store, prefix || hash, value FROM hashes, template WHERE COUNT > 0 LIMIT COUNT;
COMMIT;
SELECT count(*) FROM spin_key_value;
