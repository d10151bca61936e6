-- What each transaction with events or audit rows runs, on PostgreSQL. `core.db.named_sql` reads this file.

-- Almost always there is a head.
-- name: make_head
INSERT INTO ledger_head (project_id, cursor, oldest, audit_number, audit_hash)
VALUES (%(project)s, 0, 0, 0, %(start)s) ON CONFLICT DO NOTHING
RETURNING cursor

-- One statement takes the head and writes everything: the head is held while the database works, and not while a process
-- waits for its turn. FOR UPDATE is the lock: what it reads is the newest row, and cannot change until COMMIT.
-- fragment: head
head AS (
    SELECT cursor, audit_number, audit_hash FROM ledger_head WHERE project_id = %(project)s FOR UPDATE
)

-- fragment: events
events AS (
    INSERT INTO ledger_event (project_id, cursor, session, attempt, seq, source, type, size, payload)
    SELECT %(project)s, head.cursor + given.place, given.session, given.attempt, given.seq, given.source, given.type,
        given.size, given.payload
    FROM head, json_to_recordset(%(new_events)s::json) AS given (
        place bigint, session uuid, attempt integer, seq bigint, source text, type text, size integer, payload text
    )
)

-- name: write_events
WITH {head}, {events}
UPDATE ledger_head SET cursor = ledger_head.cursor + %(events)s FROM head WHERE project_id = %(project)s
RETURNING ledger_head.cursor

-- The time is that after the wait for the lock, so that the times of audit rows rise with their numbers. `chained` has
-- the last row of before as number 0. The text that is hashed is that of `wardroom.verify.chain.row_hash`.
-- name: write_entries
WITH RECURSIVE {head}, {events}, given AS (
    SELECT * FROM json_to_recordset(%(new_audits)s::json) AS given (
        place integer, actor text, action text, subject text, detail text, before_at text, before_number text,
        after_hash text
    )
), chained AS (
    SELECT 0 AS place, audit_number AS number, ''::text AS previous_hash, audit_hash::text AS hash, to_char(
        date_trunc('milliseconds', COALESCE(%(now)s::timestamptz, clock_timestamp())) AT TIME ZONE 'UTC',
        'YYYY-MM-DD"T"HH24:MI:SS.MS'
    ) || '+00:00' AS at
    FROM head
    UNION ALL
    SELECT given.place, chained.number + 1, chained.hash, encode(sha256(convert_to(
        given.before_at || chained.at || given.before_number || (chained.number + 1) || ',"previous_hash":"' ||
        chained.hash || given.after_hash, 'UTF8'
    )), 'hex'), chained.at
    FROM chained JOIN given ON given.place = chained.place + 1
), audits AS (
    INSERT INTO ledger_auditentry (project_id, number, at, actor, action, subject, detail, previous_hash, hash)
    SELECT %(project)s, number, at, actor, action, subject, detail, previous_hash, hash
    FROM chained JOIN given USING (place)
)
UPDATE ledger_head
SET cursor = ledger_head.cursor + %(events)s, audit_number = chained.number, audit_hash = chained.hash
FROM chained WHERE project_id = %(project)s AND chained.place = %(audits)s
RETURNING ledger_head.cursor
