-- The statements of the mailbox on SQLite. `core.db.named_sql` reads this file. They have the names, the parameters and
-- the conditions of those in `postgres.sql`, which explains them. SQLite has one writer at a time, so nothing is
-- locked. Several keys are one parameter too: a JSON array.

-- The format of Python's datetimes, because SQLite compares moments as text. See core.db.clock.Now.
-- fragment: now
replace(strftime('%%Y-%%m-%%d %%H:%%M:%%f', COALESCE(%(now)s, 'now')) || '000', '.000000', '')

-- fragment: then
replace(strftime('%%Y-%%m-%%d %%H:%%M:%%f', COALESCE(%(now)s, 'now'), %(secs)s) || '000', '.000000', '')

-- fragment: address_id
(SELECT id FROM mailbox_address WHERE project_id = %(project)s AND name = %(address)s)

-- fragment: at_address
(address_id, seq) > ({address_id}, 0) AND (address_id, seq) < ({address_id}, 9223372036854775807)

-- fragment: free
CASE state
    WHEN 'new' THEN due_at IS NULL OR due_at <= {now}
    WHEN 'claimed' THEN claim_expires_at <= {now} AND tries < %(tries)s
    ELSE false
END

-- fragment: live
state = 'claimed' AND claim = %(claim)s AND claim_expires_at > {now}

-- fragment: overdue
state = 'claimed' AND claim_expires_at <= {now}

-- fragment: recoverable
state = 'claimed' AND (claim_expires_at <= {now} OR (consumer <> '' AND consumer = %(consumer)s))

-- fragment: spent
state = 'claimed' AND tries >= %(tries)s

-- fragment: named
message_id IN (SELECT value FROM json_each(%(keys)s))

-- fragment: named_live
{named} AND CASE WHEN {live} THEN address_id = {address_id} ELSE false END

-- fragment: named_overdue
{named} AND CASE WHEN {overdue} THEN address_id = {address_id} ELSE false END

-- fragment: claimed
state = 'claimed', claim = %(claim)s, consumer = %(consumer)s, tries = tries + 1, due_at = NULL,
    claim_expires_at = {then}

-- fragment: new
state = 'new', claim = NULL, consumer = '', claim_expires_at = NULL

-- fragment: picked
message_id IN (SELECT message_id FROM picked)

-- fragment: moved
message_id, address_id, seq, tries

-- name: drain
WITH picked AS MATERIALIZED (
    SELECT message_id FROM mailbox_waiting
    WHERE {at_address} AND {free}
    ORDER BY address_id, seq LIMIT %(most)s
)
UPDATE mailbox_waiting SET {claimed} WHERE {picked} RETURNING {moved}

-- name: drain_bytes
WITH picked AS MATERIALIZED (
    SELECT message_id FROM (
        SELECT message_id, sum(size) OVER (ORDER BY address_id, seq ROWS UNBOUNDED PRECEDING) - size AS before
        FROM (
            SELECT message_id, address_id, seq, size FROM mailbox_waiting
            WHERE {at_address} AND {free}
            ORDER BY address_id, seq LIMIT %(most)s
        ) l
    ) b WHERE before < %(bytes)s
)
UPDATE mailbox_waiting SET {claimed} WHERE {picked} RETURNING {moved}

-- name: recover
WITH picked AS MATERIALIZED (
    SELECT message_id FROM (
        SELECT message_id, sum(size) OVER (ORDER BY address_id, seq ROWS UNBOUNDED PRECEDING) - size AS before
        FROM (
            SELECT message_id, address_id, seq, size FROM mailbox_waiting
            WHERE {at_address} AND {recoverable}
            ORDER BY address_id, seq LIMIT %(most)s
        ) l
    ) b WHERE before < %(bytes)s
)
UPDATE mailbox_waiting SET {claimed} WHERE {picked} RETURNING {moved}

-- name: recover_rest
WITH picked AS MATERIALIZED (
    SELECT message_id FROM mailbox_waiting
    WHERE {at_address} AND {recoverable} AND claim <> %(claim)s
    ORDER BY address_id, seq
)
UPDATE mailbox_waiting SET {new}, due_at = NULL WHERE {picked} RETURNING {moved}

-- name: extend
WITH picked AS MATERIALIZED (
    SELECT message_id FROM mailbox_waiting
    WHERE {at_address} AND {live}
    ORDER BY address_id, seq
)
UPDATE mailbox_waiting SET claim_expires_at = {then} WHERE {picked} RETURNING {moved}

-- name: nack
WITH picked AS MATERIALIZED (
    SELECT message_id FROM mailbox_waiting
    WHERE {named_live}
    ORDER BY address_id, seq
)
UPDATE mailbox_waiting SET {new}, due_at = {then} WHERE {picked} RETURNING {moved}

-- name: expire
WITH picked AS MATERIALIZED (
    SELECT message_id FROM mailbox_waiting
    WHERE {at_address} AND {overdue}
    ORDER BY address_id, seq
)
UPDATE mailbox_waiting SET {new}, due_at = NULL WHERE {picked} RETURNING {moved}

-- name: expire_named
WITH picked AS MATERIALIZED (
    SELECT message_id FROM mailbox_waiting
    WHERE {named_overdue}
    ORDER BY address_id, seq
)
UPDATE mailbox_waiting SET {new}, due_at = NULL WHERE {picked} RETURNING {moved}

-- name: overdue_addresses
SELECT DISTINCT a.id, a.project_id, a.name FROM mailbox_waiting w JOIN mailbox_address a ON a.id = w.address_id
WHERE w.state = 'claimed' AND w.claim_expires_at <= {now} ORDER BY a.id LIMIT %(most)s

-- name: overdue_keys
SELECT message_id FROM mailbox_waiting WHERE {at_address} AND {overdue} ORDER BY seq

-- name: has_spent_overdue
SELECT 1 FROM mailbox_waiting WHERE {at_address} AND {overdue} AND {spent} LIMIT 1

-- name: remove_spent_overdue
DELETE FROM mailbox_waiting WHERE {at_address} AND {overdue} AND {spent} RETURNING {moved}

-- name: has_spent_named_overdue
SELECT 1 FROM mailbox_waiting WHERE {named_overdue} AND {spent} LIMIT 1

-- name: remove_spent_named_overdue
DELETE FROM mailbox_waiting WHERE {named_overdue} AND {spent} RETURNING {moved}

-- name: has_spent_named_live
SELECT 1 FROM mailbox_waiting WHERE {named_live} AND {spent} LIMIT 1

-- name: remove_spent_named_live
DELETE FROM mailbox_waiting WHERE {named_live} AND {spent} RETURNING {moved}

-- name: has_spent_recoverable
SELECT 1 FROM mailbox_waiting WHERE {at_address} AND {recoverable} AND {spent} LIMIT 1

-- name: remove_spent_recoverable
DELETE FROM mailbox_waiting WHERE {at_address} AND {recoverable} AND {spent} RETURNING {moved}

-- name: remove_named_live
DELETE FROM mailbox_waiting WHERE {named_live} RETURNING {moved}

-- name: remove_named
DELETE FROM mailbox_waiting WHERE {named} AND address_id = {address_id} RETURNING {moved}

-- name: remove_named_new
DELETE FROM mailbox_waiting WHERE {named} AND state = 'new' AND address_id = {address_id} RETURNING {moved}

-- The columns of a `ClaimedMessage`.
-- name: claimed_messages
SELECT w.seq, m.id, m.message_id, m.message_kind, m.body_text, m.correlation_id, m.sender_session, m.sender_role,
    m.claimed_sender, w.tries, m.created_at, m.received_at, w.claim_expires_at
FROM mailbox_waiting w JOIN mailbox_message m ON m.id = w.message_id
WHERE w.message_id IN (SELECT value FROM json_each(%(keys)s))

-- name: receipts_of
SELECT m.id, (
    SELECT r.id FROM mailbox_receipt r
    WHERE (r.address_id, r.last_seq) >= (m.address_id, m.seq)
        AND (r.address_id, r.last_seq) <= (m.address_id, 9223372036854775807)
        AND CASE WHEN r.first_seq <= m.seq THEN json_type(r.taken, '$."' || m.seq || '"') IS NOT NULL ELSE false END
    ORDER BY r.address_id, r.last_seq LIMIT 1
) FROM mailbox_message m WHERE m.id IN (SELECT value FROM json_each(%(keys)s))

-- name: keys_of_numbers
SELECT id FROM mailbox_message
WHERE address_id = %(address_id)s AND seq IN (SELECT value FROM json_each(%(seqs)s))

-- name: delete_messages
DELETE FROM mailbox_message WHERE id IN (SELECT value FROM json_each(%(keys)s)) AND
    (SELECT w.message_id FROM mailbox_waiting w WHERE w.message_id = mailbox_message.id) IS NULL RETURNING id

-- name: take_places
INSERT INTO mailbox_address (project_id, name, last_seq)
SELECT %(project)s, json_extract(value, '$[0]'), json_extract(value, '$[1]')
FROM json_each(%(wanted)s) WHERE true ORDER BY key
ON CONFLICT (project_id, name) DO UPDATE SET last_seq = mailbox_address.last_seq + excluded.last_seq
RETURNING name, id, last_seq

-- Run once for each message: SQLite runs a short statement many times faster than one statement for many rows.
-- name: insert_message
INSERT INTO mailbox_message (project_id, address_id, seq, message_id, message_kind, body_text, content_hash,
    correlation_id, sender_session, sender_role, claimed_sender, created_at, received_at, dead_lettered, spent_tries)
VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, false, 0)
ON CONFLICT (project_id, message_id) DO NOTHING

-- A place that was taken for a duplicate has no message, so this adds no row for it.
-- name: insert_waiting
INSERT INTO mailbox_waiting (message_id, address_id, seq, state, tries, consumer, size)
SELECT id, address_id, seq, 'new', 0, '', length(CAST(body_text AS BLOB))
FROM mailbox_message WHERE address_id = %s AND seq = %s
