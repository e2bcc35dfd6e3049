-- Settles deliveries that the engine has accepted: $1, a JSON list of `{"key", "token", "body", "keep"}`. `keep` is the
-- time in ms for which the key is remembered; a row with 0 is deleted. Returns the keys that were settled; a token that
-- is late settles nothing.
WITH ended AS MATERIALIZED (
    SELECT e.key, e.token, e.body, e.keep
    FROM jsonb_to_recordset($1::text::jsonb) AS e (key text, token text, body text, keep int8)
),
kept AS (
    UPDATE sluice_delivery AS d
    SET state = 'delivered',
        body = convert_to(e.body, 'UTF8'),
        delivery = CASE WHEN d.topic IS NOT NULL THEN d.delivery END,
        accepted = true,
        token = NULL,
        maybe_sent = false,
        due = NULL,
        changed = sluice_clock(),
        expires = sluice_clock() + e.keep
    FROM ended AS e
    WHERE d.key = e.key AND d.token = e.token AND e.keep > 0
    RETURNING d.key
),
gone AS (
    DELETE FROM sluice_delivery AS d
    USING ended AS e
    WHERE d.key = e.key AND d.token = e.token AND e.keep = 0
    RETURNING d.key
)
SELECT key FROM kept
UNION ALL
SELECT key FROM gone
