-- Lists starts whose payloads are kept, in order of arrival: $1 the id after which the page begins (empty for the first),
-- $2 the id before which it ends, $3 their greatest number.
SELECT k.id, k.reference, k.source
FROM sluice_kept AS k
WHERE k.id > $1 AND k.id < $2 AND k.expires > sluice_now()
ORDER BY k.id
LIMIT $3::int8
