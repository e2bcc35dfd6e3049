-- The schema of Sluice's PostgreSQL backend, version 1. Needs no extension; tested with PostgreSQL 15.
--
--     psql --single-transaction --set ON_ERROR_STOP=1 --file schema.sql DATABASE_URL
--
-- Running it again adds what a later release has added: the table of kept payloads, in 0.2. An addition is no new
-- version, so older and newer components use one database side by side. Over the schema of another version it fails.
-- src/store/postgres/mod.rs describes the life of a row and the use of each index.
--
-- The role of the component needs no more than these privileges:
--
--     GRANT SELECT, INSERT, UPDATE, DELETE ON sluice_note, sluice_delivery, sluice_run, sluice_kept TO ROLE;
--     GRANT USAGE ON SEQUENCE sluice_seq TO ROLE;
--
-- Points in time are milliseconds since the Unix epoch, by the database's clock, as the component reads and writes
-- them. Text is compared by its bytes: the order of ids doesn't depend on a locale, and no index on a library's
-- version.

DO $$
BEGIN
    IF current_setting('server_encoding') <> 'UTF8' THEN
        RAISE EXCEPTION 'the database has the encoding %, but Sluice needs UTF8', current_setting('server_encoding');
    END IF;
END
$$;

-- Short texts of which there is one each: the schema's version (`schema`), the summary of the last drain, samples of
-- those before it, the width of the drain, the configuration fault, and the last delivery that has two runs. Besides,
-- those about sources and their keys, whose names begin with `source:`; the component deletes each that it has not
-- written for 30 days.
CREATE TABLE IF NOT EXISTS sluice_note (
    name    text COLLATE "C" PRIMARY KEY,
    value   text NOT NULL,
    since   int8 NOT NULL, -- when the note was first written
    changed int8 NOT NULL  -- when its value last changed
);

DO $$
BEGIN
    IF EXISTS (SELECT FROM sluice_note WHERE name = 'schema' AND value <> '1') THEN
        RAISE EXCEPTION 'the database has the schema of another version: %',
            (SELECT value FROM sluice_note WHERE name = 'schema');
    END IF;
END
$$;

-- The time that is written: that of the write, even if the statement has waited. Tests replace this function, and
-- thereby the next one.
CREATE OR REPLACE FUNCTION sluice_clock() RETURNS int8
    LANGUAGE sql VOLATILE PARALLEL SAFE
    AS $$ SELECT floor(extract(epoch FROM clock_timestamp()) * 1000)::int8 $$;

-- The time in conditions. It is STABLE because PostgreSQL never uses a volatile function as an index condition.
CREATE OR REPLACE FUNCTION sluice_now() RETURNS int8
    LANGUAGE sql STABLE PARALLEL SAFE
    AS $$ SELECT sluice_clock() $$;

-- The order of deliveries in a queue.
CREATE SEQUENCE IF NOT EXISTS sluice_seq AS int8;

-- One row for each delivery that is under way, pending, dead, or remembered. The row is the claim of its key: there is
-- never a second one.
CREATE TABLE IF NOT EXISTS sluice_delivery (
    -- The key that the row holds: that of the delivery, or its id if it has none, or holds none any more.
    key        text COLLATE "C" PRIMARY KEY,
    -- The key of the delivery, also while it doesn't hold it. For a start, the value of the engine's label.
    label      text COLLATE "C" NOT NULL,
    id         text COLLATE "C" NOT NULL,
    state      text COLLATE "C" NOT NULL CHECK (state IN ('pending', 'dead', 'delivered')),
    -- The digest of the content. Another digest under the same key is a conflict.
    digest     text COLLATE "C" NOT NULL,
    -- The workflow of a start; the run of a callback.
    reference  text COLLATE "C" NOT NULL,
    -- The topic; only for a callback.
    topic      text COLLATE "C",
    -- The queue whose deliveries are sent one at a time, and the place in it.
    queue      text COLLATE "C",
    seq        int8,
    -- The stored form of the delivery. A start that is delivered has none.
    delivery   bytea,
    -- The engine's response to a start that is delivered.
    body       bytea,
    -- Whether a sender has a 2xx for it. Such a row is never deleted because the engine refuses the delivery.
    accepted   bool NOT NULL,
    -- The holder. NULL if nobody has the delivery.
    token      text COLLATE "C",
    -- Whether the delivery may have been sent since `delivery` was written: a lease has run out.
    maybe_sent bool NOT NULL DEFAULT false,
    -- Only while pending: the end of the lease if there is a holder, otherwise the earliest time of the next attempt.
    -- In both cases, the time from which a drain may take it.
    due        int8,
    received   int8 NOT NULL,
    -- When the state last changed.
    changed    int8 NOT NULL,
    -- When a delivered row is deleted, or a dead one gives up its key. A dead row without it holds no key.
    expires    int8,
    CHECK ((state = 'pending') = (due IS NOT NULL)),
    CHECK (state <> 'pending' OR key = label),
    CHECK (state = 'pending' OR token IS NULL),
    CHECK (state <> 'delivered' OR expires IS NOT NULL),
    CHECK (delivery IS NOT NULL OR (state = 'delivered' AND topic IS NULL)),
    CHECK ((queue IS NULL) = (seq IS NULL))
) WITH (
    -- A drain reads the few pending rows of a table with millions of remembered ones: vacuum by the number of the
    -- former.
    autovacuum_vacuum_scale_factor = 0.01,
    autovacuum_vacuum_threshold = 5000,
    autovacuum_analyze_scale_factor = 0.05
);

-- A remembered row is in two indexes only: the primary key, and `expires`.
CREATE INDEX IF NOT EXISTS sluice_delivery_due ON sluice_delivery (due) WHERE state = 'pending' AND queue IS NULL;
CREATE INDEX IF NOT EXISTS sluice_delivery_queue ON sluice_delivery (queue, seq)
    WHERE state = 'pending' AND queue IS NOT NULL;
CREATE INDEX IF NOT EXISTS sluice_delivery_stored ON sluice_delivery (state, id) WHERE state <> 'delivered';
CREATE INDEX IF NOT EXISTS sluice_delivery_callback ON sluice_delivery (reference, id) WHERE topic IS NOT NULL;
CREATE INDEX IF NOT EXISTS sluice_delivery_expires ON sluice_delivery (expires) WHERE expires IS NOT NULL;

-- Runs that are not looked at like others.
CREATE TABLE IF NOT EXISTS sluice_run (
    run     text COLLATE "C" PRIMARY KEY, -- the SHA-256 of its id, in hexadecimal
    scope   text,
    unseen  bool NOT NULL,
    expires int8 NOT NULL
);
CREATE INDEX IF NOT EXISTS sluice_run_expires ON sluice_run (expires);

-- The payloads of delivered starts, while `keep_hours` is set: an operator can replay them. The id says when a start was
-- received.
CREATE TABLE IF NOT EXISTS sluice_kept (
    id        text COLLATE "C" PRIMARY KEY,
    reference text COLLATE "C" NOT NULL, -- the workflow
    source    text COLLATE "C",          -- the name of the source
    delivery  text NOT NULL,             -- the stored form of the delivery: JSON
    expires   int8 NOT NULL
);
CREATE INDEX IF NOT EXISTS sluice_kept_expires ON sluice_kept (expires);

INSERT INTO sluice_note (name, value, since, changed)
    VALUES ('schema', '1', sluice_clock(), sluice_clock())
    ON CONFLICT (name) DO NOTHING;
