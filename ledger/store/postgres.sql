-- What each transaction with events or audit rows runs, on PostgreSQL. `core.db.named_sql` reads this file.

-- The UPDATE is the lock. Its result cannot change until COMMIT. The time is that after the wait for the lock, so that
-- the times of audit rows rise with their numbers.
-- name: take_head
UPDATE ledger_head SET cursor = cursor + %(events)s, audit_number = audit_number + %(audits)s
WHERE project_id = %(project)s
RETURNING cursor, audit_number, audit_hash, COALESCE(%(now)s::timestamptz, clock_timestamp())

-- fragment: events
INSERT INTO ledger_event (project_id, cursor, session, attempt, seq, source, type, size, payload)
SELECT %(project)s, given.* FROM unnest(
    %(event_cursor)s::bigint[], %(event_session)s::uuid[], %(event_attempt)s::integer[], %(event_seq)s::bigint[],
    %(event_source)s::text[], %(event_type)s::text[], %(event_size)s::integer[], %(event_payload)s::text[]
) AS given

-- name: insert_events
{events}
RETURNING cursor

-- name: insert_entries
WITH events AS ({events}), audits AS (
    INSERT INTO ledger_auditentry
        (project_id, number, at, actor, action, subject, detail, previous_hash, hash)
    SELECT %(project)s, given.* FROM unnest(
        %(audit_number)s::bigint[], %(audit_at)s::text[], %(audit_actor)s::text[], %(audit_action)s::text[],
        %(audit_subject)s::text[], %(audit_detail)s::text[], %(audit_previous_hash)s::text[], %(audit_hash)s::text[]
    ) AS given
)
UPDATE ledger_head SET audit_hash = %(hash)s WHERE project_id = %(project)s
RETURNING audit_number
