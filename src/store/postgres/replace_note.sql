-- Writes a note that nobody has changed meanwhile: $1 name, $2 value, which nobody else writes, $3 the value that was
-- read; NULL if there was no note. Run again after it broke, it still returns the row that it has written.
--
-- No row: another one has changed it.
INSERT INTO sluice_note AS n (name, value, since, changed)
SELECT $1, $2, sluice_clock(), sluice_clock()
WHERE $3::text IS NULL OR EXISTS (SELECT FROM sluice_note AS o WHERE o.name = $1)
ON CONFLICT (name) DO UPDATE SET value = excluded.value, changed = excluded.changed
    WHERE n.value = $3 OR n.value = excluded.value
RETURNING n.name
