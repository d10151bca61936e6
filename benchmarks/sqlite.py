"""Delivering on SQLite, through the public verb, beside one row a commit.

Both wait for the disk at every commit (journal_mode=WAL, synchronous=FULL). The rows beside ours are written by
Python's own `sqlite3`: the address's counter, the message and the row by which it waits in one transaction, on one
connection for which its callers take turns, which is faster than sixteen connections that wait for one another's lock.
Tasks call `Mailbox.adeliver` on one event loop, threads call `deliver`.

Sixteen tasks make one commit of sixteen, sixteen threads commits of about ten. So the wait for the disk is shared, and
the slower the disk, the more that gains. The rest is not shared: half of it is Python (the event loop, checking,
hashing, binding), half is SQLite, for of a message's indexes two are ordered by address, so sixteen addresses write
thirty-two leaves. Nor does it overlap with the wait, because all sixteen callers wait for the same commit; two commits
of eight, one prepared while the other is written, are slower still.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from datetime import UTC, datetime
from threading import Lock
from uuid import UUID, uuid4

from benchmarks import stage
from benchmarks.crowd import callers, median_ms, tasks
from benchmarks.figures import Figure, Table, main

CALLERS = 16
MANY = 256
ADDRESSES = 64
LETTER = {"message_kind": "task", "body": {"text": "hello"}}
COUNTER = """
    INSERT INTO mailbox_address (project_id, name, last_seq) VALUES (?, ?, 1)
    ON CONFLICT (project_id, name) DO UPDATE SET last_seq = last_seq + 1 RETURNING id, last_seq
"""
INSERT = """
    INSERT INTO mailbox_message (project_id, address_id, seq, message_id, message_kind, body_text, content_hash,
        correlation_id, sender_session, sender_role, claimed_sender, created_at, received_at,
        dead_lettered, spent_tries)
    VALUES (?, ?, ?, ?, 'task', '{"text":"hello"}', '0', '', '', '', false, ?, ?, false, 0)
"""
WAITS = (
    "INSERT INTO mailbox_waiting (message_id, address_id, seq, state, tries, consumer, size) "
    "VALUES (?, ?, ?, 'new', 0, '', 16)"
)


def deliver(project: UUID, address: str) -> None:
    """One message through the public verb."""
    from mailbox import delivery
    from mailbox.envelope import NewMessage

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
            row = connection.execute(INSERT, [project.hex, address, seq, str(uuid4()), now, now]).lastrowid
            connection.execute(WAITS, [row, address, seq])
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
        from mailbox import Mailbox

        project = projects.default().pk
        with ours.cursor() as cursor:
            cursor.execute("PRAGMA synchronous")
            assert cursor.fetchone() == (2,), "synchronous is not FULL: these figures would mean nothing"
        connection, write = direct(str(ours.settings_dict["NAME"]), project)
        desks = [Mailbox(f"desk-{number}") for number in range(ADDRESSES)]
        for _ in range(rounds):
            note("tasks", tasks(CALLERS, lambda number: desks[number % ADDRESSES].adeliver(LETTER)))
            note("direct", callers(CALLERS, write))
            note("threads", callers(CALLERS, lambda number: deliver(project, f"desk-{number % ADDRESSES}")))
            note("many", tasks(MANY, lambda number: desks[number % ADDRESSES].adeliver(LETTER)))
            note("alone", median_ms(lambda: deliver(project, "single")))
            note("direct alone", median_ms(lambda: write(0)))
        connection.close()
    direct_16 = "one row a commit, 16 callers"
    figures = [
        Figure("deliver, 16 tasks", "/s", found["tasks"], direct_16, found["direct"], 4.0),
        Figure("deliver, 16 threads", "/s", found["threads"], direct_16, found["direct"], 4.0),
        Figure("deliver, 256 tasks", "/s", found["many"], direct_16, found["direct"], None),
        Figure("one deliver alone, p50", "ms", found["alone"], "one row a commit", found["direct alone"], None, False),
    ]
    return Table("sqlite", "Delivering on SQLite", figures, (__doc__ or "").split("\n\n", 1)[1])


if __name__ == "__main__":
    main(measure)
