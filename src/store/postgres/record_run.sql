-- Writes the record of a run: $1 run, $2 scope, $3 whether the engine doesn't show it, $4 the time in ms for which the
-- record is kept.
INSERT INTO sluice_run AS r (run, scope, unseen, expires)
VALUES ($1, $2, $3, sluice_clock() + $4::int8)
ON CONFLICT (run) DO UPDATE SET scope = excluded.scope, unseen = excluded.unseen, expires = excluded.expires
