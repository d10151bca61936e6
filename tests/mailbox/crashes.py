"""Producers and consumers of real mailboxes, killed and stopped at random.

Run as `python -m tests.mailbox.crashes FOLDER OPTIONS` with a Wardroom's environment: every process is a fork of this
one, which has Django loaded and no connection open, so that a life costs milliseconds. Each process writes what it
saw into a file of its own; at the end they are held against the tables, and the findings are printed as JSON.

    S <first> <last>                    a producer was told that these of its messages are accepted
    D <address> <claim> <seq>:<tries>…  a consumer got these from a drain
    A <address> <claim> <id>…           a consumer was told that these acknowledgements count
"""

from __future__ import annotations

import argparse
import json
import mmap
import os
import random
import signal
import sys
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any, TypeVar
from uuid import UUID

from tests.waiting import breathe

T = TypeVar("T")
LEASE_SECS = 0.8
PAUSE_SECS = 2.0
LULL_SECS = 3.0
DONE, ALLOWED = 0, 8  # offsets in the shared page: all is sent; how many messages may be sent by now
IDLE, BUSY, HOLDING = 0, 1, 2  # in a operation; or with messages in hand, between two


@dataclass(slots=True)
class Findings:
    sent: int = 0
    kept: int = 0
    lost: int = 0
    twice: int = 0
    order_breaks: int = 0
    kills: int = 0
    pauses: int = 0
    quarantined: int = 0
    secs: float = 0.0
    notes: list[str] = field(default_factory=list)


class Page:
    """A page that all processes share: one byte for each, and two numbers."""

    def __init__(self) -> None:
        self.map = mmap.mmap(-1, 4096)

    def mark(self, process: int, state: int) -> None:
        self.map[1024 + process] = state

    def state(self, process: int) -> int:
        return self.map[1024 + process]

    def put(self, offset: int, value: int) -> None:
        self.map[offset : offset + 8] = value.to_bytes(8, "little")

    def get(self, offset: int) -> int:
        return int.from_bytes(self.map[offset : offset + 8], "little")


@dataclass(slots=True)
class Plan:
    folder: Path
    project: UUID
    messages: int
    addresses: int
    producers: int
    consumers: int
    kills: int
    pauses: int
    seed: int

    def address(self, producer: int, first: int) -> str:
        return f"desk-{random.Random(f'{self.seed}/{producer}/{first}').randrange(self.addresses)}"

    def share(self) -> int:
        return self.messages // self.producers


class Life:
    """One process: its log, its mark on the page, and patience while the database is away."""

    def __init__(self, name: str, process: int, plan: Plan, page: Page) -> None:
        self.name, self.process, self.plan, self.page = name, process, plan, page
        self.random = random.Random()
        self.log = os.open(plan.folder / f"{name}.log", os.O_WRONLY | os.O_APPEND | os.O_CREAT)

    def write(self, *words: object) -> None:
        os.write(self.log, (" ".join(map(str, words)) + "\n").encode())

    def insist(self, operation: Callable[[], T]) -> T:
        """Call until the database answers. After an outage, repeat the call with the same ids."""
        from django.db import Error, connection

        while True:
            self.page.mark(self.process, BUSY)
            try:
                return operation()
            except Error:
                self.page.mark(self.process, IDLE)
                connection.close()
                breathe(0.05)


def produce(life: Life, producer: int) -> None:
    """Send this producer's messages in order, a few at a time, each until it is accepted."""
    from mailbox import delivery
    from mailbox.envelope import NewMessage

    plan, sent = life.plan, _sent(life.plan.folder / f"{life.name}.log")
    while sent < plan.share():
        if sent * plan.producers >= life.page.get(ALLOWED):
            life.page.mark(life.process, IDLE)
            breathe(0.002)
            continue
        last = min(sent - sent % 4 + 4, plan.share())
        messages = [
            NewMessage(id=f"{producer}-{number:06}", message_kind="task", body={"from": producer, "number": number})
            for number in range(sent, last)
        ]
        address = plan.address(producer, sent - sent % 4)
        life.insist(lambda messages=messages, address=address: delivery.deliver(plan.project, address, messages))  # type: ignore[misc]
        life.write("S", sent, last)
        sent = last


def _sent(log: Path) -> int:
    lines = [line.split() for line in _lines(log)]
    return max((int(words[2]) for words in lines), default=0)


def consume(life: Life) -> None:
    """Recover the claims of an earlier life of the same name, then drain and acknowledge."""
    from mailbox import claims, delivery

    plan = life.plan
    names = [f"desk-{number}" for number in range(plan.addresses)]
    for name in names:
        claim = life.insist(
            lambda name=name: claims.recover(plan.project, name, LEASE_SECS, life.name)  # type: ignore[misc]
        )
        _handle(life, name, claim, drained=False)
    while True:
        finished = life.page.get(DONE)
        name, limit = life.random.choice(names), life.random.randint(1, 20)
        claim = life.insist(
            lambda name=name, limit=limit: claims.drain(plan.project, name, limit, LEASE_SECS, life.name)  # type: ignore[misc]
        )
        _handle(life, name, claim, drained=True)
        if finished and all(life.insist(lambda name=name: delivery.is_empty(plan.project, name)) for name in names):  # type: ignore[misc]
            return


def _handle(life: Life, name: str, claim: Any, *, drained: bool) -> None:
    from mailbox import claims

    if not claim.messages:
        life.page.mark(life.process, IDLE)
        breathe(0.004)
        return
    if drained:
        life.write("D", name, claim.token, *(f"{row.seq}:{row.tries}" for row in claim.messages))
    ids = [row.message_id for row in claim.messages]
    life.page.mark(life.process, HOLDING)
    breathe(life.random.random() * 0.01)
    settled = life.insist(lambda: claims.ack(life.plan.project, name, claim.token, ids))
    life.write("A", name, claim.token, *settled.done)


def fork(job: Callable[[Life], None], life: Callable[[], Life]) -> int:
    """A new process that does its job and ends; nothing of ours runs after it."""
    pid = os.fork()
    if pid:
        return pid
    try:
        job(life())
        os._exit(0)
    except BaseException as error:
        print(f"{type(error).__name__}: {error}", file=sys.stderr, flush=True)
        os._exit(1)


class Ward:
    """The processes, with the kills and stops of the run."""

    def __init__(self, plan: Plan) -> None:
        self.plan, self.page, self.findings = plan, Page(), Findings()
        self.random = random.Random(plan.seed)
        self.jobs: list[tuple[str, Callable[[Life], None]]] = [
            *((f"producer-{n}", lambda life, n=n: produce(life, n)) for n in range(plan.producers)),
            *((f"consumer-{n}", consume) for n in range(plan.consumers)),
        ]
        self.pids: dict[int, int] = {}
        self.paused: dict[int, float] = {}
        self.told = -1
        self.struck_at = time.monotonic()
        self.lull = 0

    def run(self) -> None:
        begun = time.monotonic()
        for process in range(len(self.jobs)):
            self.start(process)
        while self.pids:
            self.reap()
            self.wake()
            self.strike()
            self.pace()
            breathe(0.004)
        self.findings.secs = round(time.monotonic() - begun, 1)

    def start(self, process: int) -> None:
        name, job = self.jobs[process]
        self.page.mark(process, IDLE)
        self.pids[process] = fork(job, lambda: Life(name, process, self.plan, self.page))

    def reap(self) -> None:
        for process, pid in list(self.pids.items()):
            ended, status = os.waitpid(pid, os.WNOHANG)
            if not ended:
                continue
            del self.pids[process]
            self.paused.pop(process, None)
            if status:
                if os.WIFEXITED(status):
                    self.findings.notes.append(f"{self.jobs[process][0]} failed")
                self.start(process)

    def strike(self) -> None:
        """Kill a busy process, or stop a consumer that holds messages for longer than its lease."""
        process = self.random.randrange(len(self.jobs))
        if process not in self.pids or process in self.paused:
            return
        state = self.page.state(process)
        if state == HOLDING and self.findings.pauses < self.plan.pauses and len(self.paused) < 2:
            os.kill(self.pids[process], signal.SIGSTOP)
            self.paused[process] = time.monotonic() + PAUSE_SECS
            self.findings.pauses += 1
        elif state != IDLE and self.findings.kills < self.plan.kills and self.random.random() < 0.25:
            os.kill(self.pids[process], signal.SIGKILL)
            self.findings.kills += 1

    def wake(self) -> None:
        for process, until in list(self.paused.items()):
            if time.monotonic() > until:
                os.kill(self.pids[process], signal.SIGCONT)
                del self.paused[process]

    def pace(self) -> None:
        """Let no more be sent than the strikes allow, so that they hit a mailbox at work; say how far it is.

        When all of that is read and nobody is left to strike, a little more is sent.
        """
        done = self.findings.kills + self.findings.pauses
        of = self.plan.kills + self.plan.pauses
        if done != self.told:
            (self.plan.folder / "progress").write_text(str(done))
            self.told, self.struck_at = done, time.monotonic()
        elif time.monotonic() - self.struck_at > LULL_SECS:
            self.lull, self.struck_at = self.lull + 1, time.monotonic()
        allowed = self.plan.messages * (done + self.lull + 2) // max(of, 1)
        self.page.put(ALLOWED, min(allowed, self.plan.messages) if done < of else self.plan.messages)
        if not any(process in self.pids for process in range(self.plan.producers)):
            self.page.put(DONE, 1)


def examine(plan: Plan, findings: Findings) -> None:
    """Compare the answers of the processes with the tables."""
    from mailbox.models import Message, Receipt

    kept = Message.objects.order_by("address", "seq")
    rows = list(kept.values_list("address__name", "seq", "message_id"))
    # Only a receipt proves it: that a message waits no longer could be a message lost.
    taken = Receipt.objects.values_list("address__name", "taken")
    receipts = Counter((address, int(seq)) for address, numbers in taken for seq in numbers)
    accepted = {
        f"{producer}-{number:06}"
        for producer in range(plan.producers)
        for words in _words(plan.folder / f"producer-{producer}.log")
        for number in range(int(words[1]), int(words[2]))
    }
    findings.sent, findings.kept = len(accepted), len(rows)
    admitted = {name for address, seq, name in rows if (address, seq) in receipts}
    findings.lost = len(accepted - admitted)
    findings.quarantined = kept.filter(dead_lettered=True).count()
    findings.twice = _twice(plan) + receipts.total() - len(receipts) + len(rows) - len({name for *_, name in rows})
    findings.order_breaks = _sending_breaks(rows) + _claiming_breaks(plan)


def _twice(plan: Plan) -> int:
    """Messages that two different claims were told to have acknowledged."""
    told: dict[str, set[str]] = defaultdict(set)
    for words in _consumers(plan, "A"):
        for name in words[3:]:
            told[name].add(words[2])
    return sum(len(claims) > 1 for claims in told.values())


def _sending_breaks(rows: list[tuple[str, int, str]]) -> int:
    """A producer's later message with a lower number at the same address."""
    last: Counter[tuple[str, str]] = Counter()
    breaks = 0
    for address, _, name in rows:
        producer, number = name.split("-")
        breaks += int(number) < last[address, producer]
        last[address, producer] = int(number)
    return breaks


def _claiming_breaks(plan: Plan) -> int:
    """First deliveries of one address that were not handed out block by block, or not upwards to one consumer."""
    blocks: dict[str, list[tuple[int, int]]] = defaultdict(list)
    breaks = 0
    for consumer in range(plan.consumers):
        last: Counter[str] = Counter()
        for words in _words(plan.folder / f"consumer-{consumer}.log"):
            if words[0] != "D":
                continue
            pairs = [tuple(map(int, each.split(":"))) for each in words[3:]]
            first = [seq for seq, tries in pairs if tries == 1]
            if not first:
                continue
            breaks += first != sorted(first) or first[0] < last[words[1]]
            last[words[1]] = first[-1]
            blocks[words[1]].append((first[0], first[-1]))
    for ranges in blocks.values():
        ranges.sort()
        breaks += sum(after[0] <= before[1] for before, after in pairwise(ranges))
    return breaks


def _consumers(plan: Plan, kind: str) -> Iterator[list[str]]:
    for consumer in range(plan.consumers):
        yield from (words for words in _words(plan.folder / f"consumer-{consumer}.log") if words[0] == kind)


def _words(log: Path) -> Iterator[list[str]]:
    return (line.split() for line in _lines(log))


def _lines(log: Path) -> list[str]:
    """Whole lines: a process that is killed does not finish its last one."""
    return log.read_text().split("\n")[:-1] if log.exists() else []


def without_fence() -> None:
    """The negative control: acknowledge by id alone, as many queues do."""
    from ledger import unit_of_work
    from mailbox import claims
    from mailbox.models import Message
    from mailbox.store import pending, receipts

    def unfenced(project_id: UUID, address: str, claim: UUID, ids: list[str]) -> claims.Settled:
        keys = Message.objects.filter(project_id=project_id, message_id__in=ids).values_list("pk", flat=True)
        with unit_of_work.transaction():
            gone = pending.remove(project_id, address, list(keys))
            receipts.note(gone, claim=claim)
        return claims.Settled(ids, [])

    claims.ack = unfenced  # type: ignore[assignment]


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("folder", type=Path)
    numbers = {"messages": 10_000, "addresses": 20, "producers": 2, "consumers": 4, "kills": 100, "pauses": 8}
    for name, usual in (numbers | {"seed": random.randrange(10**6)}).items():
        parser.add_argument(f"--{name}", type=int, default=usual)
    parser.add_argument("--project", type=UUID, required=True)
    parser.add_argument("--without-fence", action="store_true")
    options = vars(parser.parse_args())
    if options.pop("without_fence"):
        without_fence()
    plan = Plan(**options)
    ward = Ward(plan)
    ward.run()
    examine(plan, ward.findings)
    print(json.dumps(asdict(ward.findings) | {"seed": plan.seed}))


if __name__ == "__main__":
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "config.settings")
    import django

    django.setup()
    main()
