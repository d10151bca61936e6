"""Taking messages: through `Mailbox`, beside pgmq and the reference's Maildir.

Order is kept, each message's body is read, and all that came is acknowledged. A consumer of ours calls `next`, which
acknowledges one batch and claims the following one in one commit. Every commit waits for the disk (fsync is on), ours
and pgmq's. The reference syncs no rename; the row that says so also syncs its folders, once for a hundred.
pgmq is its documented queries as plain SQL, called on one connection by prepared statements.

What was acknowledged is kept for a week, so that its id is still known when it comes again: the message's row stays as
it is, the small row by which it waited is deleted, and one receipt says what a batch took. Where a goal is missed, this
is why. One at a time, two commits of ours stand beside three of pgmq's, and one of ours checks, hashes and numbers the
message, looks whether its id was there, and wakes who waits for it. In hundreds, a batch reads two tables and writes a
receipt where pgmq has one table and keeps nothing. Letting claims and acknowledgements return before their commit is on
disk would be faster, and after a crash of the database would hand out again what it had called done: not done here.
"""

from __future__ import annotations

import os
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from uuid import uuid4

from benchmarks import stage
from benchmarks.figures import Figure, Table, main
from benchmarks.peers.maildir import Maildir
from benchmarks.peers.pgmq import Pgmq

COUNT = 5000
SINGLE = 300
BODY = {"text": "hello"}


def one_at_a_time() -> Callable[[], None]:
    """Deliver one, claim it, acknowledge it: the acknowledgement goes with the next claim, as in a consumer's loop."""
    from mailbox import Mailbox

    desk = Mailbox(f"single-{uuid4().hex[:8]}")
    claim = desk.drain(1)

    def once() -> None:
        nonlocal claim
        desk.deliver({"message_kind": "task", "body": BODY})
        claim = desk.next(claim, 1)
        assert claim.messages[0].body == BODY

    return once


def pgmq_one_at_a_time(queue: Pgmq) -> None:
    """The same with pgmq."""
    queue.send(BODY)
    [row] = queue.read(1)
    assert row[4] == BODY
    queue.delete([row[0]])


def in_hundreds(settle: Callable[[], None], limit: int = 100) -> float:
    """Messages a second of a queue of `COUNT`, through the public class."""
    from mailbox import Mailbox
    from mailbox.envelope import NewMessage

    desk = Mailbox(f"drain-{uuid4().hex[:8]}")
    for _ in range(COUNT // 500):
        desk.deliver(*[NewMessage(message_kind="task", body=BODY)] * 500)
    settle()
    seen = 0
    began = time.perf_counter()
    claim = desk.drain(limit)
    while claim.messages:
        seen += sum(message.body == BODY for message in claim.messages)
        claim = desk.next(claim, limit)
    taken = time.perf_counter() - began
    assert seen == COUNT and desk.is_empty()
    return COUNT / taken


def pgmq_in_hundreds(queue: Pgmq, settle: Callable[[], None]) -> float:
    """The same with pgmq."""
    for _ in range(COUNT // 500):
        queue.send_batch([BODY] * 500)
    settle()
    seen = 0
    began = time.perf_counter()
    while rows := queue.read(100):
        seen += sum(row[4] == BODY for row in rows)
        queue.delete([row[0] for row in rows])
    taken = time.perf_counter() - began
    assert seen == COUNT
    return COUNT / taken


def maildir_in_hundreds(*, durable: bool) -> float:
    """The same with the reference's Maildir, whose drain claims all that waits."""
    with tempfile.TemporaryDirectory(dir="/tmp") as folder:
        box = Maildir(Path(folder))
        for _ in range(COUNT):
            box.deliver("task", BODY)
        box.durable = durable
        began = time.perf_counter()
        claimed = box.drain()
        seen = sum(message.body == BODY for _, message in claimed)
        for start in range(0, COUNT, 100):
            box.ack_all([path for path, _ in claimed[start : start + 100]])
        taken = time.perf_counter() - began
        assert seen == COUNT
        return COUNT / taken


def per_second(verb: Callable[[], None]) -> float:
    """One call after another, by the median of their times."""
    taken = []
    for _ in range(SINGLE):
        began = time.perf_counter()
        verb()
        taken.append(time.perf_counter() - began)
    return 1 / statistics.median(taken)


def measure(rounds: int) -> Table:
    """Every figure beside its peers, round by round."""
    found: dict[str, list[float]] = {}

    def note(name: str, measured: Callable[[], float]) -> None:
        # What one left to be written, ten thousand files say, shall not wait for the disk in the time of the next.
        os.sync()
        found.setdefault(name, []).append(measured())

    with stage.servers("postgres") as run, run.postgres.connect(run.name) as database:
        stage.insist_on_durability(run.postgres)

        def settle() -> None:
            # As autovacuum does it before long: neither is measured with plans for an empty table, or with dead rows of
            # the figure before.
            database.execute("VACUUM (ANALYZE)")

        queue, ours = Pgmq(run.postgres.connect(run.name)), one_at_a_time()
        per_second(ours), per_second(lambda: pgmq_one_at_a_time(queue))
        for _ in range(rounds):
            note("one", lambda: per_second(ours))
            note("pgmq one", lambda: per_second(lambda: pgmq_one_at_a_time(queue)))
            note("hundreds", lambda: in_hundreds(settle))
            note("pgmq hundreds", lambda: pgmq_in_hundreds(queue, settle))
            note("maildir", lambda: maildir_in_hundreds(durable=False))
            note("maildir durable", lambda: maildir_in_hundreds(durable=True))
        queue.connection.close()
    one, many = found["one"], found["hundreds"]
    figures = [
        Figure("deliver, claim, ack one at a time", "/s", one, "pgmq: send, read, delete", found["pgmq one"], 2.0),
        Figure("claim and ack in hundreds", "/s", many, "pgmq: read, delete", found["pgmq hundreds"], 1.2),
        Figure("the same", "/s", many, "the reference's Maildir, nothing synced", found["maildir"], 2.5),
        Figure("the same", "/s", many, "the reference's Maildir, renames synced", found["maildir durable"], 2.5),
    ]
    return Table("drain", "Claiming and acknowledging", figures, (__doc__ or "").split("\n\n", 1)[1])


if __name__ == "__main__":
    main(measure)
