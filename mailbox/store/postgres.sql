-- The statements of the mailbox on PostgreSQL. `core.db.named_sql` reads this file.
--
-- The conditions are written for a planner that knows nothing of the table, because the plan of a prepared statement
-- may be older than the rows. A planner has one way only: the index of pending rows at an address, in order, or the
-- named keys. Rows are locked in the order of their numbers, so that two of these statements never deadlock. A
-- statement that had to wait reads each row again, and skips rows that no longer meet its condition.

-- The database's time. Only a test gives `now`.
-- fragment: now
COALESCE(%(now)s::timestamptz, statement_timestamp())

-- fragment: then
({now} + %(secs)s::float8 * interval '1 second')

-- The key of this address. Its row proves the project.
-- fragment: address_id
(SELECT id FROM mailbox_address WHERE project_id = %(project)s AND name = %(address)s)

-- The pending rows of this address, as a range of the ordered index. A planner expects many rows of a range, whatever
-- it knows of the table, so it walks the index until it has enough. It may expect hardly any rows of an equal address.
-- Then it collects and sorts all pending rows, which costs as much for one message as for a hundred thousand.
-- fragment: at_address
(address_id, seq) > ({address_id}, 0) AND (address_id, seq) < ({address_id}, 9223372036854775807)

-- New and due, or with an expired claim and tries left. A CASE, because a planner makes no estimate of how many rows
-- meet one. From an OR it concludes that hardly any rows match. Then it reads and sorts the whole address for a hundred
-- rows, instead of walking the index.
-- fragment: free
CASE state
    WHEN 'new' THEN due_at IS NULL OR due_at <= {now}
    WHEN 'claimed' THEN claim_expires_at <= {now} AND tries < %(tries)s
    ELSE false
END

-- Under this claim, with a running lease: the fence of every operation of a claim's owner.
-- fragment: live
state = 'claimed' AND claim = %(claim)s AND claim_expires_at > {now}

-- fragment: overdue
state = 'claimed' AND claim_expires_at <= {now}

-- fragment: recoverable
state = 'claimed' AND (claim_expires_at <= {now} OR (consumer <> '' AND consumer = %(consumer)s))

-- Without tries left.
-- fragment: spent
state = 'claimed' AND tries >= %(tries)s

-- These keys, if they are at this address. A CASE, so that the planner chooses no index for the conditions inside it.
-- fragment: named_live
message_id = ANY(%(keys)s) AND CASE WHEN {live} THEN address_id = {address_id} ELSE false END

-- fragment: named_overdue
message_id = ANY(%(keys)s) AND CASE WHEN {overdue} THEN address_id = {address_id} ELSE false END

-- Each new claim counts as one try.
-- fragment: claimed
state = 'claimed', claim = %(claim)s, consumer = %(consumer)s, tries = tries + 1, due_at = NULL,
    claim_expires_at = {then}

-- fragment: new
state = 'new', claim = NULL, consumer = '', claim_expires_at = NULL

-- An array, so that a planner never scans the whole table for the few keys.
-- fragment: picked
message_id = ANY(ARRAY(SELECT message_id FROM picked))

-- fragment: moved
message_id, address_id, seq, tries

-- The columns of a `ClaimedMessage`. LATERAL with OFFSET 0 reads each message by its key, whatever number of rows the
-- planner expects.
-- fragment: message_columns
held.seq, m.id, m.message_id, m.message_kind, m.body_text, m.correlation_id, m.sender_session, m.sender_role,
    m.claimed_sender, held.tries, m.created_at, m.received_at, held.claim_expires_at

-- fragment: held_messages
held, LATERAL (SELECT * FROM mailbox_message WHERE id = held.message_id OFFSET 0) m

-- fragment: held
UPDATE mailbox_waiting SET {claimed} WHERE {picked} RETURNING message_id, seq, tries, claim_expires_at

-- Claim `most` messages at most.
-- name: drain
WITH picked AS MATERIALIZED (
    SELECT message_id FROM mailbox_waiting
    WHERE {at_address} AND {free}
    ORDER BY address_id, seq LIMIT %(most)s FOR UPDATE
), held AS MATERIALIZED (
    {held}
)
SELECT {message_columns} FROM {held_messages}

-- The same, up to the message that reaches `bytes`.
-- name: drain_bytes
WITH picked AS MATERIALIZED (
    SELECT message_id FROM (
        SELECT message_id, sum(size) OVER (ORDER BY address_id, seq ROWS UNBOUNDED PRECEDING) - size AS before
        FROM (
            SELECT message_id, address_id, seq, size FROM mailbox_waiting
            WHERE {at_address} AND {free}
            ORDER BY address_id, seq LIMIT %(most)s FOR UPDATE
        ) l
    ) b WHERE before < %(bytes)s
), held AS MATERIALIZED (
    {held}
)
SELECT {message_columns} FROM {held_messages}

-- Admit the rows of the old claim, and claim the next ones. `picked` reads from `done`, so that acknowledged rows are
-- locked first: two of these statements cannot deadlock. `old_claim` is acknowledged, `claim` is the new one.
-- fragment: acknowledged
known AS MATERIALIZED (
    SELECT message_id FROM mailbox_waiting
    WHERE message_id = ANY(%(keys)s) AND CASE
        WHEN state = 'claimed' AND claim = %(old_claim)s AND claim_expires_at > {now} THEN address_id = {address_id}
        ELSE false
    END
    ORDER BY address_id, seq FOR UPDATE
), done AS MATERIALIZED (
    DELETE FROM mailbox_waiting WHERE message_id = ANY(ARRAY(SELECT message_id FROM known)) RETURNING {moved}
), noted AS MATERIALIZED (
    INSERT INTO mailbox_receipt (address_id, claim, admitted_at, first_seq, last_seq, taken)
    SELECT address_id, %(old_claim)s::uuid, {now}, min(seq), max(seq), jsonb_object_agg(seq, tries)
    FROM done GROUP BY address_id
)

-- name: ack
WITH {acknowledged}
SELECT message_id FROM done

-- name: ack_and_claim
WITH {acknowledged}, picked AS MATERIALIZED (
    SELECT message_id FROM mailbox_waiting
    WHERE {at_address} AND {free} AND (SELECT count(*) FROM done) >= 0
    ORDER BY address_id, seq LIMIT %(most)s FOR UPDATE
), held AS MATERIALIZED (
    {held}
)
SELECT {message_columns}, (SELECT count(*) FROM done) FROM {held_messages}

-- name: ack_and_claim_bytes
WITH {acknowledged}, picked AS MATERIALIZED (
    SELECT message_id FROM (
        SELECT message_id, sum(size) OVER (ORDER BY address_id, seq ROWS UNBOUNDED PRECEDING) - size AS before
        FROM (
            SELECT message_id, address_id, seq, size FROM mailbox_waiting
            WHERE {at_address} AND {free} AND (SELECT count(*) FROM done) >= 0
            ORDER BY address_id, seq LIMIT %(most)s FOR UPDATE
        ) l
    ) b WHERE before < %(bytes)s
), held AS MATERIALIZED (
    {held}
)
SELECT {message_columns}, (SELECT count(*) FROM done) FROM {held_messages}

-- name: recover
WITH picked AS MATERIALIZED (
    SELECT message_id FROM (
        SELECT message_id, sum(size) OVER (ORDER BY address_id, seq ROWS UNBOUNDED PRECEDING) - size AS before
        FROM (
            SELECT message_id, address_id, seq, size FROM mailbox_waiting
            WHERE {at_address} AND {recoverable}
            ORDER BY address_id, seq LIMIT %(most)s FOR UPDATE
        ) l
    ) b WHERE before < %(bytes)s
), held AS MATERIALIZED (
    {held}
)
SELECT {message_columns} FROM {held_messages}

-- The messages that did not fit into a `recover`. Their old claim is dead too: the next drain gets them.
-- name: recover_rest
WITH picked AS MATERIALIZED (
    SELECT message_id FROM mailbox_waiting
    WHERE {at_address} AND {recoverable} AND claim <> %(claim)s
    ORDER BY address_id, seq FOR UPDATE
)
UPDATE mailbox_waiting SET {new}, due_at = NULL WHERE {picked} RETURNING {moved}

-- name: extend
WITH picked AS MATERIALIZED (
    SELECT message_id FROM mailbox_waiting
    WHERE {at_address} AND {live}
    ORDER BY address_id, seq FOR UPDATE
), held AS MATERIALIZED (
    UPDATE mailbox_waiting SET claim_expires_at = {then} WHERE {picked}
    RETURNING message_id, seq, tries, claim_expires_at
)
SELECT {message_columns} FROM {held_messages}

-- name: nack
WITH picked AS MATERIALIZED (
    SELECT message_id FROM mailbox_waiting
    WHERE {named_live}
    ORDER BY address_id, seq FOR UPDATE
)
UPDATE mailbox_waiting SET {new}, due_at = {then} WHERE {picked} RETURNING {moved}

-- name: expire
WITH picked AS MATERIALIZED (
    SELECT message_id FROM mailbox_waiting
    WHERE {at_address} AND {overdue}
    ORDER BY address_id, seq FOR UPDATE
)
UPDATE mailbox_waiting SET {new}, due_at = NULL WHERE {picked} RETURNING {moved}

-- name: expire_named
WITH picked AS MATERIALIZED (
    SELECT message_id FROM mailbox_waiting
    WHERE {named_overdue}
    ORDER BY address_id, seq FOR UPDATE
)
UPDATE mailbox_waiting SET {new}, due_at = NULL WHERE {picked} RETURNING {moved}

-- Addresses with expired claims.
-- name: overdue_addresses
SELECT DISTINCT a.id, a.project_id, a.name FROM mailbox_waiting w JOIN mailbox_address a ON a.id = w.address_id
WHERE w.state = 'claimed' AND w.claim_expires_at <= {now} ORDER BY a.id LIMIT %(most)s

-- name: overdue_keys
SELECT message_id FROM mailbox_waiting WHERE {at_address} AND {overdue} ORDER BY seq

-- For each way to find messages without tries left: whether there is one, and the DELETE of their pending rows.
-- name: has_spent_overdue
SELECT 1 FROM mailbox_waiting WHERE {at_address} AND {overdue} AND {spent} LIMIT 1

-- name: remove_spent_overdue
WITH picked AS MATERIALIZED (
    SELECT message_id FROM mailbox_waiting
    WHERE {at_address} AND {overdue} AND {spent}
    ORDER BY address_id, seq FOR UPDATE
)
DELETE FROM mailbox_waiting WHERE {picked} RETURNING {moved}

-- name: has_spent_named_overdue
SELECT 1 FROM mailbox_waiting WHERE {named_overdue} AND {spent} LIMIT 1

-- name: remove_spent_named_overdue
WITH picked AS MATERIALIZED (
    SELECT message_id FROM mailbox_waiting
    WHERE {named_overdue} AND {spent}
    ORDER BY address_id, seq FOR UPDATE
)
DELETE FROM mailbox_waiting WHERE {picked} RETURNING {moved}

-- name: has_spent_named_live
SELECT 1 FROM mailbox_waiting WHERE {named_live} AND {spent} LIMIT 1

-- name: remove_spent_named_live
WITH picked AS MATERIALIZED (
    SELECT message_id FROM mailbox_waiting
    WHERE {named_live} AND {spent}
    ORDER BY address_id, seq FOR UPDATE
)
DELETE FROM mailbox_waiting WHERE {picked} RETURNING {moved}

-- name: has_spent_recoverable
SELECT 1 FROM mailbox_waiting WHERE {at_address} AND {recoverable} AND {spent} LIMIT 1

-- name: remove_spent_recoverable
WITH picked AS MATERIALIZED (
    SELECT message_id FROM mailbox_waiting
    WHERE {at_address} AND {recoverable} AND {spent}
    ORDER BY address_id, seq FOR UPDATE
)
DELETE FROM mailbox_waiting WHERE {picked} RETURNING {moved}

-- name: remove_named
WITH picked AS MATERIALIZED (
    SELECT message_id FROM mailbox_waiting
    WHERE message_id = ANY(%(keys)s) AND CASE WHEN true THEN address_id = {address_id} ELSE false END
    ORDER BY address_id, seq FOR UPDATE
)
DELETE FROM mailbox_waiting WHERE {picked} RETURNING {moved}

-- name: remove_named_new
WITH picked AS MATERIALIZED (
    SELECT message_id FROM mailbox_waiting
    WHERE message_id = ANY(%(keys)s) AND CASE WHEN state = 'new' THEN address_id = {address_id} ELSE false END
    ORDER BY address_id, seq FOR UPDATE
)
DELETE FROM mailbox_waiting WHERE {picked} RETURNING {moved}

-- The first receipt that has the number, in a range of the index and in its order, so that a planner walks the index
-- and stops there. A CASE, because for a plain condition a planner expects hardly any match, and sorts all receipts.
-- name: receipts_of
SELECT m.id, (
    SELECT r.id FROM mailbox_receipt r
    WHERE (r.address_id, r.last_seq) >= (m.address_id, m.seq)
        AND (r.address_id, r.last_seq) <= (m.address_id, 9223372036854775807)
        AND CASE WHEN r.first_seq <= m.seq THEN r.taken ? m.seq::text ELSE false END
    ORDER BY r.address_id, r.last_seq LIMIT 1
) FROM mailbox_message m WHERE m.id = ANY(%(keys)s)

-- Each number alone: for all at once a planner may think that the address has hardly more, and read all of its rows.
-- name: keys_of_numbers
SELECT m.id FROM unnest(%(seqs)s::bigint[]) AS n(seq),
    LATERAL (SELECT id FROM mailbox_message WHERE address_id = %(address_id)s AND seq = n.seq OFFSET 0) m

-- name: delete_messages
DELETE FROM mailbox_message WHERE id = ANY(%(keys)s) AND
    (SELECT w.message_id FROM mailbox_waiting w WHERE w.message_id = mailbox_message.id) IS NULL RETURNING id

-- name: take_places
INSERT INTO mailbox_address (project_id, name, last_seq)
SELECT %(project)s::uuid, w ->> 0, (w ->> 1)::bigint
FROM jsonb_array_elements(%(wanted)s::jsonb) WITH ORDINALITY AS wanted(w, place) ORDER BY place
ON CONFLICT (project_id, name) DO UPDATE SET last_seq = mailbox_address.last_seq + excluded.last_seq
RETURNING name, id, last_seq

-- A conflicting id is skipped. Its place stays unused.
-- name: insert_messages
WITH fresh AS (
    INSERT INTO mailbox_message (project_id, address_id, seq, message_id, message_kind, body_text, content_hash,
        correlation_id, sender_session, sender_role, claimed_sender, created_at, received_at,
        dead_lettered, spent_tries)
    SELECT %(project)s::uuid, (l ->> 0)::bigint, (l ->> 1)::bigint, l ->> 2, l ->> 3, l ->> 4, l ->> 5, l ->> 6,
        l ->> 7, l ->> 8, (l ->> 9)::boolean, COALESCE((l ->> 10)::timestamptz, {now}), {now}, false, 0
    FROM jsonb_array_elements(%(messages)s::jsonb) WITH ORDINALITY AS given(l, place) ORDER BY place
    ON CONFLICT (project_id, message_id) DO NOTHING
    RETURNING id, message_id, address_id, seq, octet_length(body_text) AS size
), waiting AS (
    INSERT INTO mailbox_waiting (message_id, address_id, seq, state, tries, consumer, size)
    SELECT id, address_id, seq, 'new', 0, '', size FROM fresh
)
SELECT message_id, address_id, seq FROM fresh

-- Number and insert messages at once. One parameter holds every message, so the statement is the same for two and for
-- five hundred. The addresses are sorted by code point, as Python sorts them for `take_places`: a database's own
-- collation would give another order of locks.
-- name: accept
WITH messages AS MATERIALIZED (
    SELECT l ->> 0 AS name, (l ->> 1)::bigint AS behind, l ->> 2 AS message_id, l ->> 3 AS message_kind,
        l ->> 4 AS body_text, l ->> 5 AS content_hash, l ->> 6 AS correlation_id, l ->> 7 AS sender_session,
        l ->> 8 AS sender_role, (l ->> 9)::boolean AS claimed_sender, (l ->> 10)::timestamptz AS created_at
    FROM jsonb_array_elements(%s::jsonb) AS l
), taken AS (
    INSERT INTO mailbox_address AS a (project_id, name, last_seq)
    SELECT %s::uuid, name, count(*) FROM messages GROUP BY name ORDER BY name COLLATE "C"
    ON CONFLICT (project_id, name) DO UPDATE SET last_seq = a.last_seq + excluded.last_seq
    RETURNING a.id, a.name, a.last_seq
), fresh AS (
    INSERT INTO mailbox_message (project_id, address_id, seq, message_id, message_kind, body_text, content_hash,
        correlation_id, sender_session, sender_role, claimed_sender, created_at, received_at,
        dead_lettered, spent_tries)
    SELECT %s::uuid, t.id, t.last_seq - l.behind, l.message_id, l.message_kind, l.body_text, l.content_hash,
        l.correlation_id, l.sender_session, l.sender_role, l.claimed_sender,
        COALESCE(l.created_at, statement_timestamp()), statement_timestamp(), false, 0
    FROM messages l JOIN taken t ON t.name = l.name
    ON CONFLICT (project_id, message_id) DO NOTHING
    RETURNING id, message_id, address_id, seq, octet_length(body_text) AS size
), waiting AS (
    INSERT INTO mailbox_waiting (message_id, address_id, seq, state, tries, consumer, size)
    SELECT id, address_id, seq, 'new', 0, '', size FROM fresh
)
SELECT message_id, address_id, seq FROM fresh

-- `accept` for one message: faster for a sender that comes alone.
-- name: accept_one
WITH taken AS (
    INSERT INTO mailbox_address AS a (project_id, name, last_seq) VALUES (%s, %s, 1)
    ON CONFLICT (project_id, name) DO UPDATE SET last_seq = a.last_seq + 1
    RETURNING a.id, a.last_seq
), fresh AS (
    INSERT INTO mailbox_message (project_id, address_id, seq, message_id, message_kind, body_text, content_hash,
        correlation_id, sender_session, sender_role, claimed_sender, created_at, received_at,
        dead_lettered, spent_tries)
    SELECT %s, t.id, t.last_seq, %s, %s, %s, %s, %s, %s, %s, %s::boolean,
        COALESCE(%s::timestamptz, statement_timestamp()), statement_timestamp(), false, 0
    FROM taken t
    ON CONFLICT (project_id, message_id) DO NOTHING
    RETURNING id, message_id, address_id, seq, octet_length(body_text) AS size
), waiting AS (
    INSERT INTO mailbox_waiting (message_id, address_id, seq, state, tries, consumer, size)
    SELECT id, address_id, seq, 'new', 0, '', size FROM fresh
)
SELECT message_id, address_id, seq FROM fresh
