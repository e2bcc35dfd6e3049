-- Writes a note: $1 name, $2 value. Writes nothing if it has this value; another value keeps the time of the first.
INSERT INTO sluice_note AS n (name, value, since, changed)
VALUES ($1, $2, sluice_clock(), sluice_clock())
ON CONFLICT (name) DO UPDATE SET value = excluded.value, changed = excluded.changed
    WHERE n.value <> excluded.value
