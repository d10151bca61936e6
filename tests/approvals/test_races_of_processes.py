"""One winner among processes that all saw the approval pending: on SQLite threads of one process take turns."""

from __future__ import annotations

import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack

import pytest

from accounts.models import Project
from approvals import attempt_clock
from approvals.models import Approval
from ledger.audit import chain
from ledger.models import AuditEntry, Event
from tests.approvals.conftest import Asked, staff
from tests.servers.databases import ROOT

pytestmark = pytest.mark.django_db(transaction=True)

ROUNDS = 8


class Racer:
    """A process with one opinion."""

    def __init__(self, process: subprocess.Popen[str], user: int) -> None:
        self.process, self.user = process, user

    def say(self, line: str) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(f"{line}\n")
        self.process.stdin.flush()

    def hear(self) -> str:
        assert self.process.stdout is not None
        return self.process.stdout.readline().strip()


@pytest.fixture
def executors(project: Project) -> Iterator[list[Racer]]:
    with ExitStack() as running:
        made = []
        for number in range(4):
            user = staff(f"executor-{number}", project, "decide")
            command = [sys.executable, "-m", "tests.approvals.executors", str(project.pk), str(user.pk)]
            pipe = subprocess.PIPE
            process = running.enter_context(subprocess.Popen(command, cwd=ROOT, stdin=pipe, stdout=pipe, text=True))
            running.callback(process.kill)
            made.append(Racer(process, user.pk))
        yield made


@pytest.fixture
def racers(project: Project) -> Iterator[list[Racer]]:
    with ExitStack() as running:
        made = []
        for number, decision in enumerate(("approve", "deny", "approve", "deny")):
            user = staff(f"person-{number}", project, "decide")
            command = [sys.executable, "-m", "tests.approvals.racers", str(project.pk), str(user.pk), decision]
            pipe = subprocess.PIPE
            process = running.enter_context(subprocess.Popen(command, cwd=ROOT, stdin=pipe, stdout=pipe, text=True))
            running.callback(process.kill)
            made.append(Racer(process, user.pk))
        yield made


def test_of_four_processes_that_all_saw_it_pending_one_decides(
    asked: Asked, racers: list[Racer], project: Project
) -> None:
    for _ in range(ROUNDS):
        approval = asked()
        for racer in racers:
            racer.say(str(approval.id))
        assert [racer.hear() for racer in racers] == ["read"] * 4
        for racer in racers:
            racer.say("go")
        outcomes = [racer.hear() for racer in racers]
        approval = Approval.objects.get(id=approval.id)
        assert Counter(outcomes) == {approval.status: 1, "already-decided": 3}
        assert (approval.decided_by or {})["user_id"] == racers[outcomes.index(approval.status)].user
    assert AuditEntry.objects.filter(action="approval.decided").count() == ROUNDS
    assert Event.objects.filter(type="approval_decided").count() == ROUNDS
    assert attempt_clock.clock(approval.session, 1).pending == 0
    assert chain.verify(project.pk) is None


def test_of_32_executors_in_four_processes_one_runs(approved: Asked, executors: list[Racer]) -> None:
    for _ in range(ROUNDS):
        approval = approved()
        for executor in executors:
            executor.say(str(approval.id))
        assert [executor.hear() for executor in executors] == ["read"] * 4
        for executor in executors:
            executor.say("go")
        outcomes = Counter(outcome for executor in executors for outcome in executor.hear().split())
        approval.refresh_from_db()
        assert outcomes == {"consumed": 31, approval.consume_claim: 1}
    assert AuditEntry.objects.filter(action="approval.consumed").count() == ROUNDS
