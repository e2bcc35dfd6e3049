-- The role of the component, with the least privileges. Run it as the owner of the database, after
-- ../../src/store/postgres/schema.sql:
--
--     psql --single-transaction --set ON_ERROR_STOP=1 --dbname sluice --file role.sql
--
-- Running it again changes nothing. The role has no password yet: set it with `\password sluice` in psql.

DO $$
BEGIN
    IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'sluice') THEN
        CREATE ROLE sluice LOGIN;
    END IF;
END
$$;

-- Other roles have no access to this database. Up to PostgreSQL 14, they might create tables in it.
REVOKE ALL ON DATABASE :"DBNAME" FROM PUBLIC;
REVOKE CREATE ON SCHEMA public FROM PUBLIC;

GRANT CONNECT ON DATABASE :"DBNAME" TO sluice;
GRANT USAGE ON SCHEMA public TO sluice;
-- As named by schema.sql.
GRANT SELECT, INSERT, UPDATE, DELETE ON sluice_note, sluice_delivery, sluice_run, sluice_kept TO sluice;
GRANT USAGE ON SEQUENCE sluice_seq TO sluice;
