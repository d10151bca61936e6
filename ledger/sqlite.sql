-- What each transaction with events or audit rows runs, on SQLite. It has the names and the parameters of
-- `postgres.sql`, which explains it. `core.db.named_sql` reads this file.

-- name: take_head
UPDATE ledger_head SET cursor = cursor + %(events)s, audit_number = audit_number + %(audits)s
WHERE project_id = %(project)s
RETURNING cursor, audit_number, audit_hash, strftime('%%Y-%%m-%%dT%%H:%%M:%%f+00:00', COALESCE(%(now)s, 'now'))
