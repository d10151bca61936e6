"""A backlog of 1,000,000 messages for 1,000 addresses: what draining costs beside a small queue, and memory.

A consumer in a process of its own calls `Mailbox.next` in hundreds, address after address, and reads every body. Beside
the million stand 10,000 messages for ten addresses, in another database of the same server (the median of the rounds;
the million is drained once). Both are written by SQL, as if all addresses got their messages at the same time, so the
messages of one are spread over the whole table. That is not measured.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from benchmarks import stage
from benchmarks.figures import Figure, Table, main
from tests.servers.run import Run

ADDRESSES = 1000
EACH = 1000
#: Addresses of one round.
TEN = 10
FILL = """
    WITH taken AS (
        INSERT INTO mailbox_address (project_id, name, last_seq)
        SELECT p.id, 'desk-' || n, %(each)s FROM accounts_project p, generate_series(0, %(addresses)s - 1) n
        ON CONFLICT (project_id, name) DO UPDATE SET last_seq = mailbox_address.last_seq + excluded.last_seq
        RETURNING id, project_id, last_seq
    ), fresh AS (
        INSERT INTO mailbox_message (project_id, address_id, seq, message_id, message_kind, body_text, content_hash,
            correlation_id, sender_session, sender_role, claimed_sender, created_at, received_at,
            dead_lettered, spent_tries)
        SELECT project_id, id, last_seq - %(each)s + n, gen_random_uuid()::text, 'task', '{"text":"hello"}',
            repeat('0', 64), '', '', '', false, now(), now(), false, 0
        FROM generate_series(1, %(each)s) n, taken
        RETURNING id, address_id, seq
    )
    INSERT INTO mailbox_waiting (message_id, address_id, seq, state, tries, consumer, size)
    SELECT id, address_id, seq, 'new', 0, '', 16 FROM fresh
"""


def measure(rounds: int) -> Table:
    """Both databases, round by round; the rest of the million at the end."""
    few = []
    with stage.servers("postgres") as run:
        stage.insist_on_durability(run.postgres)
        small, large = f"{run.name}_small", f"{run.name}_large"
        for name in (small, large):
            run.databases("postgres").copy(run.migrated("postgres"), name)
        _fill(run, large, ADDRESSES)
        for _ in range(rounds):
            _fill(run, small, TEN)
            few.append(_drained(run, small, TEN)["per_second"])
        whole = _drained(run, large, ADDRESSES)
    usual = [statistics.median(few)]
    figures = [
        Figure("claim and ack of 1,000,000 in hundreds", "/s", [whole["per_second"]], "of 10,000", usual, 0.8),
        Figure(
            "memory after all of it", "MiB", [whole["last"]], "after the first 10,000", [whole["first"]], 0.95, False
        ),
    ]
    return Table("backlog", "A backlog of a million", figures, (__doc__ or "").split("\n\n", 1)[1])


def _fill(run: Run, name: str, addresses: int) -> None:
    with run.postgres.connect(name) as connection:
        connection.execute(FILL, {"addresses": addresses, "each": EACH})


def _drained(run: Run, name: str, count: int) -> dict[str, Any]:
    """What a process says that drains so many addresses."""
    environment = {**os.environ, "DATABASE_URL": run.databases("postgres").url(name)}
    command = [sys.executable, "-m", "benchmarks.backlog", "--count", str(count)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    assert found["seen"] == count * EACH, found
    return found


def drain(count: int) -> dict[str, Any]:
    """Drain these addresses one after another, in order; how fast, and the memory near the begin and at the end."""
    from mailbox import Mailbox

    seen, memory = 0, 0.0
    began = time.perf_counter()
    for number in range(count):
        desk = Mailbox(f"desk-{number}")
        claim = desk.drain()
        last = 0
        while claim.messages:
            seqs = [message.seq for message in claim.messages if message.body]
            assert seqs == list(range(last + 1, last + len(seqs) + 1)) or not last
            seen, last = seen + len(seqs), seqs[-1]
            claim = desk.next(claim)
        if number == TEN - 1:
            memory = _resident_mib()
    taken = time.perf_counter() - began
    return {"seen": seen, "per_second": seen / taken, "first": memory, "last": _resident_mib()}


def _resident_mib() -> float:
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 2**20


def _drain_as_told() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--count", type=int)
    options = parser.parse_args()
    import django

    django.setup()
    print(json.dumps(drain(options.count)))


if __name__ == "__main__":
    if "--count" in sys.argv:
        _drain_as_told()
    else:
        main(measure)
