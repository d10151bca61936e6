-- What each transaction with events or audit rows runs, on PostgreSQL. `core.db.named_sql` reads this file.

-- The UPDATE is the lock. Its result cannot change until COMMIT. The time is that after the wait for the lock, so that
-- the times of audit rows rise with their numbers.
-- name: take_head
UPDATE ledger_head SET cursor = cursor + %(events)s, audit_number = audit_number + %(audits)s
WHERE project_id = %(project)s
RETURNING cursor, audit_number, audit_hash, COALESCE(%(now)s::timestamptz, clock_timestamp())
