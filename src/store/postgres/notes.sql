-- Reads notes: $1, a JSON list of names.
SELECT n.name, n.value, n.since, n.changed, sluice_clock() AS now
FROM sluice_note AS n
WHERE n.name = ANY (ARRAY(SELECT jsonb_array_elements_text($1::text::jsonb)))
