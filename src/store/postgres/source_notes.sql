-- Reads notes about sources: $1, the greatest number. Their names are `source:` and letters, digits and colons.
SELECT n.name, n.value, n.changed, sluice_clock() AS now
FROM sluice_note AS n
WHERE n.name >= 'source:' AND n.name < 'source:~'
ORDER BY n.name
LIMIT $1::int8
