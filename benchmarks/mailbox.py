"""Delivering and draining, through the public verbs, beside the same rows written one commit each.

The rows beside ours are written by pgbench (the address's counter and the insert in one transaction, as many clients
as we have callers) or by Django's own `create()`. Every figure is durable: fsync is on.
"""

from __future__ import annotations

import statistics
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

from benchmarks import stage
from benchmarks.figures import Figure, Table, main
from tests.servers.postgres import OWNER, PORT, Postgres, program

SECS = 3
ADDRESSES = 64
SCRIPT = f"""
\\set n random(0, {ADDRESSES - 1})
BEGIN;
INSERT INTO mailbox_address AS a (project_id, name, last_seq) VALUES ('{{project}}', 'peer-' || :n, 1)
    ON CONFLICT (project_id, name) DO UPDATE SET last_seq = a.last_seq + 1 RETURNING id, last_seq \\gset
INSERT INTO mailbox_message (project_id, address_id, seq, message_id, message_kind, body_text, content_hash,
    correlation_id, sender_role, claimed_sender, state, tries, consumer, created_at, received_at)
    VALUES ('{{project}}', :id, :last_seq, gen_random_uuid()::text, 'task', '{{{{"text":"hello"}}}}', repeat('0', 64),
    '', '', false, 'new', 0, '', now(), now());
COMMIT;
"""


def callers(count: int, verb: Callable[[int], object]) -> float:
    """Calls a second, of `count` threads that call for `SECS` seconds."""
    from django.db import connections

    done, stop, start = [0] * count, threading.Event(), threading.Barrier(count + 1)

    def work(number: int) -> None:
        start.wait()
        while not stop.is_set():
            verb(number)
            done[number] += 1
        connections.close_all()

    threads = [threading.Thread(target=work, args=(number,)) for number in range(count)]
    for thread in threads:
        thread.start()
    start.wait()
    began = time.perf_counter()
    stop.wait(SECS)
    stop.set()
    for thread in threads:
        thread.join()
    return sum(done) / (time.perf_counter() - began)


def pgbench(server: Postgres, database: str, project: UUID, clients: int) -> float:
    """Transactions a second of the same work."""
    with tempfile.NamedTemporaryFile("w", suffix=".sql") as script:
        script.write(SCRIPT.format(project=project))
        script.flush()
        words = ["-n", "-M", "prepared", "-c", str(clients), "-j", "2", "-T", str(SECS), "-f", script.name]
        where = ["-h", str(server.folder), "-p", str(PORT), "-U", OWNER, database]
        done = subprocess.run([program("pgbench"), *words, *where], capture_output=True, text=True, check=True)
    return float(done.stdout.rsplit("tps = ", 1)[1].split()[0])


def median_ms(verb: Callable[[], object], times: int = 200) -> float:
    """The median of single calls, one after another, in milliseconds."""
    taken = []
    for _ in range(times):
        began = time.perf_counter()
        verb()
        taken.append((time.perf_counter() - began) * 1000)
    return statistics.median(taken)


def deliver(project: UUID, address: str) -> None:
    """One message through the public verb."""
    from mailbox import delivery
    from mailbox.letters import NewMessage

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


def drained(project: UUID, count: int = 3000) -> float:
    """Messages a second, claimed and acknowledged in hundreds, in order."""
    from mailbox import claims, delivery
    from mailbox.letters import NewMessage

    address = f"drain-{uuid4().hex[:8]}"
    for _ in range(count // 500):
        delivery.deliver(project, address, [NewMessage(message_kind="task", body={"text": "hello"})] * 500)
    began = time.perf_counter()
    while messages := (claim := claims.drain(project, address, 100)).messages:
        claims.ack(project, address, claim.token or "", [row.message_id for row in messages])
    return count / (time.perf_counter() - began)


def maildir(count: int = 3000) -> float:
    """The reference's way: a file a message, renamed to claim it, read, and removed to acknowledge it."""
    with tempfile.TemporaryDirectory() as folder:
        new, cur = Path(folder, "new"), Path(folder, "cur")
        new.mkdir()
        cur.mkdir()
        for number in range(count):
            (new / f"{number:020}-{uuid4()}.json").write_text('{"text": "hello"}')
        began = time.perf_counter()
        for path in sorted(new.iterdir()):
            path.rename(cur / path.name)
            (cur / path.name).read_text()
            (cur / path.name).unlink()
        return count / (time.perf_counter() - began)


def measure(rounds: int) -> Table:
    """Every figure beside its peer, round by round."""
    ours: dict[str, list[float]] = {}
    theirs: dict[str, list[float]] = {}

    def note(name: str, mine: float, peer: float) -> None:
        ours.setdefault(name, []).append(mine)
        theirs.setdefault(name, []).append(peer)

    with stage.servers("postgres") as run:
        _durably(run.postgres)
        from accounts import projects
        from mailbox.models import Address

        project = projects.default().pk
        deliver(project, "single")
        row, seq = Address.objects.get(name="single").pk, iter(range(10**9, 2 * 10**9))
        for _ in range(rounds):
            for count in (16, 256):
                mine = callers(count, lambda number: deliver(project, f"desk-{number % ADDRESSES}"))
                note(f"deliver, {count} callers", mine, pgbench(run.postgres, run.name, project, 16))
            single = median_ms(lambda: deliver(project, "single"))
            note("one deliver alone, p50", single, median_ms(lambda: create(project, row, next(seq))))
            note("drain and ack in hundreds", drained(project), maildir())
    peers = {"one": ("Django's `create()` of the row", 1.0), "drain": ("the reference's Maildir, no fsync", 2.5)}
    goals = {"deliver, 16 callers": 1.0, "deliver, 256 callers": 2.0}
    figures = []
    for name, mine in ours.items():
        peer, goal = peers.get(name.split()[0], ("pgbench, 16 clients", goals.get(name, 1.0)))
        alone = name.startswith("one")
        figures.append(Figure(name, "ms" if alone else "/s", mine, peer, theirs[name], goal, not alone))
    return Table("mailbox", "Delivering and draining", figures, (__doc__ or "").split("\n\n", 1)[1])


def _durably(server: Postgres) -> None:
    """Refuse to measure a PostgreSQL that does not wait for its disk."""
    with server.connect() as connection:
        for setting in ("fsync", "synchronous_commit", "full_page_writes"):
            row = connection.execute("SELECT current_setting(%s)", [setting]).fetchone()
            if row != ("on",):
                raise SystemExit(f"{setting} is {row}: these figures would mean nothing")


if __name__ == "__main__":
    main(measure)
