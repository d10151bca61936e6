-- What each transaction with events or audit rows runs, on SQLite. `postgres.sql` explains it. `core.db.named_sql` reads this file.

-- name: take_head
UPDATE ledger_head SET cursor = cursor + %(events)s, audit_number = audit_number + %(audits)s
WHERE project_id = %(project)s
RETURNING cursor, audit_number, audit_hash, strftime('%%Y-%%m-%%dT%%H:%%M:%%f+00:00', COALESCE(%(now)s, 'now'))

-- name: insert_event
INSERT INTO ledger_event (project_id, cursor, session, attempt, seq, source, type, size, payload)
VALUES (%(project)s, %(cursor)s, %(session)s, %(attempt)s, %(seq)s, %(source)s, %(type)s, %(size)s, %(payload)s)

-- name: insert_audit
INSERT INTO ledger_auditentry (project_id, number, at, actor, action, subject, detail, previous_hash, hash)
VALUES (
    %(project)s, %(number)s, %(at)s, %(actor)s, %(action)s, %(subject)s, %(detail)s, %(previous_hash)s, %(hash)s
)

-- name: set_hash
UPDATE ledger_head SET audit_hash = %(hash)s WHERE project_id = %(project)s
