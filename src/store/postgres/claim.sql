-- Claims a key by inserting its delivery, or takes over a delivery whose lease has run out.
--
-- $1 key, $2 id, $3 token; NULL if the delivery is only stored, for a drain, $4 digest, $5 reference, $6 topic,
-- $7 queue, $8 delivery, $9 length of the lease in ms; without a token, time until the next attempt, $10 accepted,
-- $11 another key; a pending delivery that holds it comes first, unless $1 is held. NULL if there is none.
--
-- One row, or none: then another contender has changed the key meanwhile, and the statement is run again.
-- `standing` is `won`, `taken` (maybe sent), or `held` by the delivery that the other columns describe.
WITH held AS MATERIALIZED (
    SELECT h.*,
        h.key = $1 AND (
            h.token = $3
            OR (h.state = 'delivered' AND h.expires <= sluice_now())
            OR (h.state = 'pending' AND h.token IS NOT NULL AND h.due <= sluice_now() AND h.digest = $4
                AND $3::text IS NOT NULL)
        ) IS TRUE AS is_free
    FROM sluice_delivery AS h
    WHERE h.key = ANY (ARRAY[$1::text, $11::text])
        AND (h.key = $1 OR (
            h.state = 'pending' AND h.id <> $2 AND NOT EXISTS (SELECT FROM sluice_delivery AS t WHERE t.key = $1)
        ))
),
mine AS (
    INSERT INTO sluice_delivery AS d
        (key, label, id, state, digest, reference, topic, queue, seq, delivery, accepted, token, due, received, changed)
    SELECT $1, $1, $2, 'pending', $4, $5, $6, $7, CASE WHEN $7::text IS NOT NULL THEN nextval('sluice_seq') END,
        $8, $10, $3, sluice_clock() + $9::int8, sluice_clock(), sluice_clock()
    WHERE NOT EXISTS (SELECT FROM held WHERE NOT is_free)
    ON CONFLICT (key) DO UPDATE SET
        -- A forgotten delivery is replaced; one that is taken over, or that this token holds, is continued.
        id = CASE WHEN d.state = 'delivered' THEN excluded.id ELSE d.id END,
        label = excluded.label,
        state = 'pending',
        digest = excluded.digest,
        reference = CASE WHEN d.state = 'delivered' THEN excluded.reference ELSE d.reference END,
        topic = CASE WHEN d.state = 'delivered' THEN excluded.topic ELSE d.topic END,
        queue = CASE WHEN d.state = 'delivered' THEN excluded.queue ELSE d.queue END,
        seq = CASE WHEN d.state = 'delivered' THEN excluded.seq ELSE d.seq END,
        delivery = CASE WHEN d.state = 'delivered' THEN excluded.delivery ELSE d.delivery END,
        body = NULL,
        accepted = CASE WHEN d.state = 'delivered' THEN excluded.accepted ELSE d.accepted OR excluded.accepted END,
        token = excluded.token,
        maybe_sent = d.state = 'pending' AND (d.maybe_sent OR d.token <> excluded.token),
        due = sluice_clock() + $9::int8,
        received = CASE WHEN d.state = 'delivered' THEN excluded.received ELSE d.received END,
        changed = excluded.changed,
        expires = NULL
    WHERE d.token = excluded.token
        OR (d.state = 'delivered' AND d.expires <= sluice_now())
        OR (d.state = 'pending' AND d.token IS NOT NULL AND d.due <= sluice_now() AND d.digest = excluded.digest
            AND excluded.token IS NOT NULL)
    RETURNING d.*
)
SELECT CASE WHEN maybe_sent THEN 'taken' ELSE 'won' END AS standing,
    key, id, state, digest, accepted, changed, due, CASE WHEN maybe_sent THEN delivery END AS delivery, body,
    sluice_clock() AS now
FROM mine
UNION ALL
-- A delivery that is only stored is its own if an earlier run of this statement has stored it.
SELECT CASE WHEN $3::text IS NULL AND id = $2 THEN 'won' ELSE 'held' END,
    key, id, state, digest, accepted, changed, due, CASE WHEN topic IS NOT NULL THEN delivery END, body,
    sluice_clock()
FROM held
WHERE NOT is_free
