-- Writes a row of 8 KB, unless that was done within $1 ms: fails if there is no room for such a delivery, for instance
-- because the disk is full. The row is nobody's: no delivery has its key, and a sweep deletes it after an hour. Its
-- content can't be compressed.
INSERT INTO sluice_delivery (key, label, id, state, digest, reference, body, accepted, received, changed, expires)
SELECT ':probe', ':probe', ':probe', 'delivered', '', '',
    (SELECT string_agg(sha256(n::text::bytea), ''::bytea) FROM generate_series(1, 256) AS n),
    false, c.now, c.now, c.now + 3600000
FROM (SELECT sluice_clock() AS now) AS c
WHERE NOT EXISTS (SELECT FROM sluice_delivery AS d WHERE d.key = ':probe' AND d.changed > sluice_now() - $1::int8)
ON CONFLICT (key) DO UPDATE SET body = EXCLUDED.body, changed = EXCLUDED.changed
RETURNING key
