-- Counts pending deliveries and dead letters, up to a bound: $1. `oldest` is the pending one that arrived first, and
-- `due` the time at which the next one is due.
SELECT
    (SELECT count(*) FROM (
        SELECT d.id FROM sluice_delivery AS d
        WHERE d.state = 'pending' AND d.state <> 'delivered' ORDER BY d.id LIMIT $1::int8
    ) AS p)::int8 AS pending,
    (SELECT count(*) FROM (
        SELECT d.id FROM sluice_delivery AS d
        WHERE d.state = 'dead' AND d.state <> 'delivered' ORDER BY d.id LIMIT $1::int8
    ) AS p)::int8 AS dead,
    (SELECT d.id FROM sluice_delivery AS d
        WHERE d.state = 'pending' AND d.state <> 'delivered' ORDER BY d.id LIMIT 1) AS oldest,
    (SELECT d.due FROM sluice_delivery AS d
        WHERE d.state = 'pending' AND d.queue IS NULL ORDER BY d.due LIMIT 1) AS due,
    sluice_clock() AS now
