-- Whether the schema exists. Its version is the note `schema`.
SELECT to_regclass('sluice_note') IS NOT NULL AND to_regclass('sluice_delivery') IS NOT NULL AS has_schema
