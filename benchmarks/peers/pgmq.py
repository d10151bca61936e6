"""pgmq (https://github.com/pgmq/pgmq) as plain SQL: its queue table, and its send, read and delete.

Written from its documentation, for it is an extension that cannot be installed everywhere: the same columns and
indexes, one function for each verb, and in each the one statement, planned at each call because it names the queue.
"""

from __future__ import annotations

import json
from typing import Any

import psycopg

QUEUE = "q_bench"
SCHEMA = """
CREATE SCHEMA pgmq;
CREATE TABLE pgmq.q_bench (
    msg_id bigint PRIMARY KEY GENERATED ALWAYS AS IDENTITY,
    read_ct integer NOT NULL DEFAULT 0,
    enqueued_at timestamptz NOT NULL DEFAULT now(),
    vt timestamptz NOT NULL,
    message jsonb,
    headers jsonb
);
CREATE INDEX ON pgmq.q_bench (vt);

CREATE FUNCTION pgmq.send(queue text, message jsonb) RETURNS SETOF bigint LANGUAGE plpgsql AS $$
BEGIN
    RETURN QUERY EXECUTE format(
        'INSERT INTO pgmq.%I (vt, message) VALUES (clock_timestamp(), $1) RETURNING msg_id', queue
    ) USING message;
END $$;

CREATE FUNCTION pgmq.send_batch(queue text, messages jsonb[]) RETURNS SETOF bigint LANGUAGE plpgsql AS $$
BEGIN
    RETURN QUERY EXECUTE format(
        'INSERT INTO pgmq.%I (vt, message) SELECT clock_timestamp(), unnest($1) RETURNING msg_id', queue
    ) USING messages;
END $$;

CREATE FUNCTION pgmq.read(queue text, secs integer, quantity integer)
RETURNS TABLE (msg_id bigint, read_ct integer, enqueued_at timestamptz, vt timestamptz, message jsonb, headers jsonb)
LANGUAGE plpgsql AS $$
BEGIN
    RETURN QUERY EXECUTE format(
        'WITH oldest AS (
            SELECT msg_id FROM pgmq.%1$I WHERE vt <= clock_timestamp() ORDER BY msg_id LIMIT $1 FOR UPDATE SKIP LOCKED
        )
        UPDATE pgmq.%1$I AS m SET vt = clock_timestamp() + $2, read_ct = m.read_ct + 1
        FROM oldest WHERE m.msg_id = oldest.msg_id
        RETURNING m.msg_id, m.read_ct, m.enqueued_at, m.vt, m.message, m.headers', queue
    ) USING quantity, make_interval(secs => secs);
END $$;

CREATE FUNCTION pgmq.delete(queue text, ids bigint[]) RETURNS SETOF bigint LANGUAGE plpgsql AS $$
BEGIN
    RETURN QUERY EXECUTE format('DELETE FROM pgmq.%I WHERE msg_id = ANY($1) RETURNING msg_id', queue) USING ids;
END $$;
"""


class Pgmq:
    """A client that does as little as a client can: prepared statements on one connection, no pool, no ORM."""

    def __init__(self, connection: psycopg.Connection[tuple[Any, ...]]) -> None:
        self.connection = connection
        connection.execute(SCHEMA)

    def send(self, message: object) -> None:
        """One message, durable when this returns."""
        self._call("SELECT * FROM pgmq.send(%s, %s::jsonb)", QUEUE, json.dumps(message))

    def send_batch(self, messages: list[object]) -> None:
        """Many, in one commit."""
        self._call("SELECT * FROM pgmq.send_batch(%s, %s::jsonb[])", QUEUE, [json.dumps(each) for each in messages])

    def read(self, quantity: int) -> list[tuple[Any, ...]]:
        """Up to so many, hidden from others for a minute. Their rows, with the message read."""
        return self._call("SELECT * FROM pgmq.read(%s, 60, %s)", QUEUE, quantity)

    def delete(self, ids: list[int]) -> None:
        """These are done."""
        self._call("SELECT * FROM pgmq.delete(%s, %s::bigint[])", QUEUE, ids)

    def _call(self, statement: str, *params: object) -> list[tuple[Any, ...]]:
        return self.connection.execute(statement, params, prepare=True).fetchall()
