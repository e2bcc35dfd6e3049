-- Keeps the payloads of delivered starts: $1, a JSON list of `{"id", "reference", "source", "delivery"}`, $2 the time in
-- ms for which they are kept. One that is kept already stays as it is.
INSERT INTO sluice_kept (id, reference, source, delivery, expires)
SELECT e.id, e.reference, e.source, e.delivery, sluice_clock() + $2::int8
FROM jsonb_to_recordset($1::text::jsonb) AS e (id text, reference text, source text, delivery text)
ON CONFLICT (id) DO NOTHING
