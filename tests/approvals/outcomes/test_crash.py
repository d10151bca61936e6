"""An executor is killed between its consumption and its report: the approval is spent, and nothing repeats the action
by itself.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from django.test import Client

from accounts.actors import Actor
from accounts.models import Project, User
from approvals import consumption, requests
from approvals.canonical_action import Ask
from approvals.models import Approval
from approvals.outcomes import repeats, settlement
from core.db.clock import clock_at, read_database_clock
from core.web.problems import Problem
from ledger import outages
from ledger.audit import chain
from ledger.models import AuditEntry, Outage
from orchestration.models import Session, WebProcess
from orchestration.sessions import lifecycle, reaper, transitions
from orchestration.states import Status
from tests.approvals.conftest import child
from tests.approvals.rules.conftest import Ruled, ruled  # noqa: F401 - a fixture
from tests.approvals.test_races_of_processes import Racer
from tests.orchestration import stages
from tests.servers.databases import ROOT

pytestmark = pytest.mark.django_db(transaction=True)


@dataclass
class Work:
    """A session that asks for its actions again in each attempt, as an agent does. A rule allows each of them."""

    session: Session
    effects: Path

    def ask(self, command: str) -> Approval:
        self.session = stages.again(self.session)
        attempt = self.session.attempt
        ask = Ask(
            session=self.session.pk,
            attempt=attempt,
            request_id=f"{command} {attempt} {Approval.objects.count()}",
            tool_name="pay",
            permission="execute",
            resource=command,
            arguments={"command": command},
            reversibility="reversible",
        )
        asker = child(self.session.pk, attempt)
        return requests.ask(self.session.project_id, ask, actor=asker, via="connection")[0]

    def run(self, command: str) -> Approval:
        """Ask, and run the action in this process if that is approved."""
        approval = self.ask(command)
        if approval.status == "approved":
            self.consume(approval, claim="next")
            self.effects.write_text(f"{self.effects.read_text()}{command}\n")
        return approval

    def consume(self, approval: Approval, claim: str) -> None:
        words = {"digest": approval.digest, "claim": claim}
        consumption.consume_request(self.session.pk, approval.attempt or 0, approval.request_id, **words)

    def lose_the_attempt(self) -> None:
        """Let the reaper find that the child is gone, and begin the next attempt by policy."""
        now = read_database_clock()
        WebProcess.objects.create(host="a", pid=1, heartbeat_at=now)
        Outage.objects.update_or_create(name=outages.HEARTBEATS, defaults={"seen_at": now})
        Session.objects.filter(pk=self.session.pk).update(retries_left=1)
        stages.set_attempt(self.session, connection_since=now - timedelta(seconds=200))
        stages.set_attempt(self.session, connection_lost_at=now - timedelta(seconds=100))
        with clock_at(now):
            assert reaper.sweep() == 1
        self.session = transitions.move(self.session.pk, 2, Status.STARTING)
        assert lifecycle.started(self.session.pk, 2)

    @property
    def ran(self) -> list[str]:
        return self.effects.read_text().split()


@pytest.fixture
def work(project: Project, ruled: Ruled, tmp_path: Path) -> Work:  # noqa: F811
    ruled(name="harmless", outcome="allow")
    effects = tmp_path / "effects"
    effects.touch()
    return Work(stages.running(), effects)


@contextmanager
def executor(work: Work) -> Iterator[Racer]:
    command = [sys.executable, "-m", "tests.approvals.outcomes.executor", str(work.session.pk), "1", str(work.effects)]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, cwd=ROOT, stdin=pipe, stdout=pipe, text=True) as process:
        try:
            yield Racer(process, 0)
        finally:
            process.kill()


def crash(work: Work, *commands: str, before: str | None = None) -> list[Approval]:
    """Run the commands in a process, take the one of `before` too, and kill the process with SIGKILL."""
    asked = [work.ask(command) for command in [*commands, *([before] if before else [])]]
    assert {approval.status for approval in asked} == {"approved"}
    with executor(work) as process:
        for approval in asked:
            process.say(approval.request_id)
            assert process.hear() == "taken"
            if approval.resource != before:
                process.say("run")
                assert process.hear() == "done"
        process.process.kill()
    work.lose_the_attempt()
    return asked


def refused(call: Any, *args: Any, **words: Any) -> str:
    with pytest.raises(Problem) as refusal:
        call(*args, **words)
    return refusal.value.type


def test_an_executor_that_dies_in_the_middle_leaves_two_doubts_and_nothing_runs_again(
    work: Work, project: Project, alice: User, bearer: Any
) -> None:
    ran, unbegun = crash(work, "paid", before="unpaid")
    assert work.ran == ["paid"]
    for approval in (ran, unbegun):
        approval.refresh_from_db()
        assert (approval.status, approval.outcome) == ("approved", "unknown")
        assert approval.consumed_at is not None
        assert refused(work.consume, approval, claim="another") == "consumed"
        assert refused(work.consume, approval, claim=approval.request_id) == "not-running"
    assert AuditEntry.objects.filter(action="approval.unknown_outcome").count() == 2
    found = Client().get("/api/v1/approvals", {"outcome": "unknown"}, headers=bearer(project, alice)).json()["results"]
    assert {each["id"] for each in found} == {str(ran.id), str(unbegun.id)}

    # The next attempt asks for both again. The rule allows them, and people are asked all the same.
    again = [work.run(command) for command in ("paid", "unpaid")]
    assert [(each.status, bool(each.repeat_warning)) for each in again] == [("pending", True)] * 2
    assert work.run("other").status == "approved"

    for approval, settled_as in ((ran, "ran"), (unbegun, "did_not_run")):
        settlement.settle(project.pk, approval.id, Actor.of_user(alice), settled_as=settled_as, note="I looked.")
    assert [work.run(command).status for command in ("paid", "unpaid")] == ["pending", "approved"]
    assert sorted(work.ran) == ["other", "paid", "unpaid"]
    assert chain.verify(project.pk) is None


def test_control_without_the_mark_of_the_doubt_the_same_action_runs_twice(
    work: Work, monkeypatch: pytest.MonkeyPatch
) -> None:
    crash(work, "paid")
    monkeypatch.setattr(repeats, "warning_for", lambda *_: None)
    assert work.run("paid").status == "approved"
    assert work.ran == ["paid", "paid"]
