-- Reads the record of a run: $1 run.
SELECT r.scope, r.unseen FROM sluice_run AS r WHERE r.run = $1 AND r.expires > sluice_now()
