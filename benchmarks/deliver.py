"""Delivering, through the public verb, beside the same rows written one commit each.

The rows beside ours are written by pgbench (the address's counter and the inserts in one transaction, as many clients
as we have callers), or by Django's own `create()` of the message alone, without its counter and the row by which it
waits. Every figure is durable: fsync is on. Tasks call `Mailbox.adeliver` on one event loop, threads call `deliver`;
both are one process, and what limits it is Python, not the database: threads take turns with one interpreter.
"""

from __future__ import annotations

import subprocess
import tempfile
from typing import Any
from uuid import UUID, uuid4

from benchmarks import stage
from benchmarks.crowd import SECS, callers, median_ms, tasks
from benchmarks.figures import Figure, Table, main
from tests.servers.postgres import OWNER, PORT, Postgres, program

ADDRESSES = 64
LETTER = {"message_kind": "task", "body": {"text": "hello"}}
SCRIPT = f"""
\\set n random(0, {ADDRESSES - 1})
BEGIN;
INSERT INTO mailbox_address AS a (project_id, name, last_seq) VALUES ('{{project}}', 'peer-' || :n, 1)
    ON CONFLICT (project_id, name) DO UPDATE SET last_seq = a.last_seq + 1 RETURNING id, last_seq \\gset
WITH fresh AS (
    INSERT INTO mailbox_message (project_id, address_id, seq, message_id, message_kind, body_text, content_hash,
        correlation_id, sender_session, sender_role, claimed_sender, created_at, received_at,
        dead_lettered, spent_tries)
    VALUES ('{{project}}', :id, :last_seq, gen_random_uuid()::text, 'task', '{{{{"text":"hello"}}}}', repeat('0', 64),
        '', '', '', false, now(), now(), false, 0)
    RETURNING id, address_id, seq
)
INSERT INTO mailbox_waiting (message_id, address_id, seq, state, tries, consumer, size)
    SELECT id, address_id, seq, 'new', 0, '', 16 FROM fresh;
COMMIT;
"""


def pgbench(server: Postgres, database: str, project: UUID, clients: int) -> float:
    """Transactions a second of the same work."""
    with tempfile.NamedTemporaryFile("w", suffix=".sql") as script:
        script.write(SCRIPT.format(project=project))
        script.flush()
        words = ["-n", "-M", "prepared", "-c", str(clients), "-j", "2", "-T", str(SECS), "-f", script.name]
        where = ["-h", str(server.folder), "-p", str(PORT), "-U", OWNER, database]
        done = subprocess.run([program("pgbench"), *words, *where], capture_output=True, text=True, check=True)
    return float(done.stdout.rsplit("tps = ", 1)[1].split()[0])


def deliver(project: UUID, address: str) -> None:
    """One message through the public verb."""
    from mailbox import delivery
    from mailbox.envelope import NewMessage

    delivery.deliver(project, address, [NewMessage(message_kind="task", body={"text": "hello"})])


def create(project: UUID, address_row: int, seq: int) -> None:
    """The same row by Django's ORM."""
    from django.utils import timezone

    from mailbox.models import Message

    now = timezone.now()
    common: dict[str, Any] = {"project_id": project, "address_id": address_row, "created_at": now, "received_at": now}
    Message.objects.create(
        **common, seq=seq, message_id=str(uuid4()), message_kind="task", body_text='{"text":"hello"}', content_hash="0"
    )


def measure(rounds: int) -> Table:
    """Every figure beside its peer, round by round."""
    found: dict[str, list[float]] = {}

    def note(name: str, figure: float) -> None:
        found.setdefault(name, []).append(figure)

    with stage.servers("postgres") as run:
        stage.insist_on_durability(run.postgres)
        from accounts import projects
        from mailbox import Mailbox
        from mailbox.models import Address

        project = projects.default().pk
        deliver(project, "single")
        desks = [Mailbox(f"desk-{number}") for number in range(ADDRESSES)]
        row, seq = Address.objects.get(name="single").pk, iter(range(10**9, 2 * 10**9))
        for _ in range(rounds):
            for count in (16, 256):
                note(f"pgbench {count}", pgbench(run.postgres, run.name, project, 16))
                note(f"{count} tasks", tasks(count, lambda number: desks[number % ADDRESSES].adeliver(LETTER)))
                note(f"{count} threads", callers(count, lambda number: deliver(project, f"desk-{number % ADDRESSES}")))
            note("alone", median_ms(lambda: deliver(project, "single")))
            note("create", median_ms(lambda: create(project, row, next(seq))))
    pgbench_16, alone = "pgbench, 16 clients", "Django's `create()` of the row"
    figures = [
        Figure("deliver, 16 tasks", "/s", found["16 tasks"], pgbench_16, found["pgbench 16"], 1.0),
        Figure("deliver, 16 threads", "/s", found["16 threads"], pgbench_16, found["pgbench 16"], 1.0),
        Figure("deliver, 256 tasks", "/s", found["256 tasks"], pgbench_16, found["pgbench 256"], 2.0),
        Figure("deliver, 256 threads", "/s", found["256 threads"], pgbench_16, found["pgbench 256"], 2.0),
        Figure("one deliver alone, p50", "ms", found["alone"], alone, found["create"], 1.0, more_is_better=False),
    ]
    return Table("deliver", "Delivering", figures, (__doc__ or "").split("\n\n", 1)[1])


if __name__ == "__main__":
    main(measure)
