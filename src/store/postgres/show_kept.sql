-- Reads a start whose payload is kept: $1 id.
SELECT k.delivery FROM sluice_kept AS k WHERE k.id = $1 AND k.expires > sluice_now()
