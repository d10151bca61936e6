"""Delivering on SQLite, through the public verb, beside the same rows written one commit each.

Both wait for the disk at every commit (journal_mode=WAL, synchronous=FULL). The rows beside ours are written by
Python's own `sqlite3`: the address's counter and the insert in one transaction, on one connection for which its
callers take turns, which is faster than sixteen connections that wait for one another's lock.

Where the goal is missed, this is why. Sharing a commit saves the wait for the disk, and not the pages: of a message's
three indexes (its id, its number, what waits) two are ordered by address, so messages for sixteen addresses write
sixteen leaves of each. Checking, hashing and inserting one message cost about a quarter of a one-row commit here.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from datetime import UTC, datetime
from threading import Lock
from uuid import UUID, uuid4

from benchmarks import stage
from benchmarks.crowd import callers, median_ms
from benchmarks.figures import Figure, Table, main

CALLERS = 16
ADDRESSES = 64
COUNTER = """
    INSERT INTO mailbox_address (project_id, name, last_seq) VALUES (?, ?, 1)
    ON CONFLICT (project_id, name) DO UPDATE SET last_seq = last_seq + 1 RETURNING id, last_seq
"""
INSERT = """
    INSERT INTO mailbox_message (project_id, address_id, seq, message_id, message_kind, body_text, content_hash,
        correlation_id, sender_role, claimed_sender, created_at, received_at, put_away, spent_tries)
    VALUES (?, ?, ?, ?, 'task', '{"text":"hello"}', '0', '', '', false, ?, ?, false, 0)
"""


def deliver(project: UUID, address: str) -> None:
    """One message through the public verb."""
    from mailbox import delivery
    from mailbox.letters import NewMessage

    delivery.deliver(project, address, [NewMessage(message_kind="task", body={"text": "hello"})])


def direct(file: str, project: UUID) -> tuple[sqlite3.Connection, Callable[[int], None]]:
    """A call that writes the same rows, in a commit of their own."""
    connection = sqlite3.connect(file, isolation_level=None, check_same_thread=False)
    connection.execute("PRAGMA journal_mode=WAL")
    connection.execute("PRAGMA synchronous=FULL")
    turn = Lock()

    def write(number: int) -> None:
        now = str(datetime.now(UTC).replace(tzinfo=None))
        with turn:
            connection.execute("BEGIN IMMEDIATE")
            name = f"peer-{number % ADDRESSES}"
            [(address, seq)] = connection.execute(COUNTER, [project.hex, name]).fetchall()
            connection.execute(INSERT, [project.hex, address, seq, str(uuid4()), now, now])
            connection.execute("COMMIT")

    return connection, write


def measure(rounds: int) -> Table:
    """Ours beside the other, round by round."""
    found: dict[str, list[float]] = {}

    def note(name: str, figure: float) -> None:
        found.setdefault(name, []).append(figure)

    with stage.servers("sqlite"):
        from django.db import connection as ours

        from accounts import projects

        project = projects.default().pk
        with ours.cursor() as cursor:
            cursor.execute("PRAGMA synchronous")
            assert cursor.fetchone() == (2,), "synchronous is not FULL: these figures would mean nothing"
        connection, write = direct(str(ours.settings_dict["NAME"]), project)
        for _ in range(rounds):
            note("ours", callers(CALLERS, lambda number: deliver(project, f"desk-{number % ADDRESSES}")))
            note("direct", callers(CALLERS, write))
            note("alone", median_ms(lambda: deliver(project, "single")))
            note("direct alone", median_ms(lambda: write(0)))
        connection.close()
    figures = [
        Figure("deliver, 16 callers", "/s", found["ours"], "one row a commit, 16 callers", found["direct"], 4.0),
        Figure("one deliver alone, p50", "ms", found["alone"], "one row a commit", found["direct alone"], None, False),
    ]
    return Table("sqlite", "Delivering on SQLite", figures, (__doc__ or "").split("\n\n", 1)[1])


if __name__ == "__main__":
    main(measure)
