-- Reads the deliveries that hold any of these keys: $1, a JSON list. For a callback, the keys of its task, of run and
-- topic, and of release 0.1.
SELECT d.key, d.id, d.state, d.digest, d.accepted, d.changed, d.due, d.body,
    CASE WHEN d.topic IS NOT NULL THEN d.delivery END AS delivery,
    sluice_clock() AS now
FROM sluice_delivery AS d
WHERE d.key = ANY (ARRAY(SELECT jsonb_array_elements_text($1::text::jsonb)))
    AND (d.state <> 'delivered' OR d.expires > sluice_now())
