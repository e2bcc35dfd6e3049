-- Deletes a note: $1 name.
DELETE FROM sluice_note AS n WHERE n.name = $1
