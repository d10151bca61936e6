"""A quorum: so many people approve, each counts once, and one denial ends it."""

from __future__ import annotations

import subprocess
import sys
from collections import Counter
from collections.abc import Callable
from contextlib import ExitStack
from typing import Any

import pytest
from django.test import Client

from accounts.actors import Actor
from accounts.models import Project, User
from approvals import decisions
from approvals.decision_validation import Answer
from approvals.models import Approval, Vote
from core.web.problems import Problem
from ledger.models import AuditEntry, Event
from tests.approvals.conftest import Asked, staff
from tests.approvals.rules.conftest import Ruled
from tests.approvals.test_races_of_processes import Racer
from tests.servers.databases import ROOT

pytestmark = pytest.mark.django_db


def answer(approval: Approval, user: User, decision: str = "approve", **said: Any) -> Approval:
    said = {"decision": decision, "digest": approval.digest, **said}
    return decisions.decide(approval.project_id, approval.id, Answer(**said), Actor.of_user(user), "rest")


@pytest.fixture
def carol(project: Project) -> User:
    return staff("carol", project, "decide")


def test_the_last_of_them_approves_it(asked: Asked, ruled: Ruled, alice: User, bob: User, carol: User) -> None:
    ruled(outcome="ask", approvers={"quorum": 3})
    approval = asked()
    assert (approval.quorum, approval.allowed_decisions) == (3, ["approve", "deny"])
    first = answer(approval, alice)
    assert (first.status, first.vote_count, first.version) == ("pending", 1, 1)
    assert answer(approval, bob).status == "pending"
    last = answer(approval, carol)
    assert (last.status, last.decided_by["user"], last.vote_count) == ("approved", "carol", 3)
    payloads = list(Event.objects.filter(type="approval_voted").order_by("cursor").values_list("payload", flat=True))
    assert [(each["votes"], each["quorum"]) for each in payloads] == [(1, 3), (2, 3)]
    assert Event.objects.filter(type="approval_decided").count() == 1
    assert AuditEntry.objects.filter(action="approval.voted").count() == 2
    assert '"alice","bob","carol"' in AuditEntry.objects.get(action="approval.decided").detail.replace(" ", "")


def test_one_person_counts_once_across_their_keys(
    asked: Asked, ruled: Ruled, project: Project, alice: User, bob: User, bearer: Callable[..., dict[str, str]]
) -> None:
    ruled(outcome="ask", approvers={"quorum": 2})
    approval = asked()
    answer(approval, alice)
    for _ in range(2):
        headers = bearer(project, alice, scopes=("approvals:decide",))
        said = {"decision": "approve", "digest": approval.digest}
        again = Client().post(f"/api/v1/approvals/{approval.id}/decide", said, "application/json", headers=headers)
        shown = again.json()
        assert (again.status_code, shown["status"], shown["votes"], shown["quorum"]) == (200, "pending", 1, 2)
    assert Event.objects.filter(type="approval_voted").count() == 1
    assert answer(approval, bob).status == "approved"


def test_one_denial_ends_it(asked: Asked, ruled: Ruled, alice: User, bob: User) -> None:
    ruled(outcome="ask", approvers={"quorum": 3})
    approval = asked()
    answer(approval, alice)
    assert answer(approval, bob, "deny", message="No.").status == "denied"
    with pytest.raises(Problem) as refused:
        answer(approval, alice)
    assert refused.value.type == "already-decided"


def test_a_person_may_deny_after_their_own_vote(asked: Asked, ruled: Ruled, alice: User) -> None:
    ruled(outcome="ask", approvers={"quorum": 2})
    approval = asked()
    answer(approval, alice)
    assert answer(approval, alice, "deny").status == "denied"


def test_nobody_edits_what_several_people_approve(asked: Asked, ruled: Ruled, alice: User) -> None:
    ruled(outcome="ask", approvers={"quorum": 2})
    approval = asked()
    with pytest.raises(Problem) as refused:
        answer(approval, alice, "edit", arguments={"command": "ls"})
    assert refused.value.extra["errors"][0]["field"] == "decision"


def test_a_question_takes_one_answer_whatever_the_quorum(asked: Asked, ruled: Ruled, alice: User) -> None:
    ruled(outcome="ask", approvers={"quorum": 2})
    approval = asked(allowed_decisions=["respond"])
    assert answer(approval, alice, "respond", message="Blue.").status == "approved"


def test_the_vote_of_a_person_who_may_no_longer_answer_does_not_count(
    asked: Asked, ruled: Ruled, alice: User, bob: User, carol: User
) -> None:
    ruled(outcome="ask", approvers={"quorum": 2})
    approval = asked()
    answer(approval, alice)
    User.objects.filter(pk=alice.pk).update(is_active=False)
    assert answer(approval, bob).status == "pending"
    assert answer(approval, carol).status == "approved"


def test_the_page_shows_the_votes(asked: Asked, ruled: Ruled, desk: Client, bob: User) -> None:
    ruled(outcome="ask", approvers={"quorum": 2})
    approval = asked()
    answer(approval, bob)
    shown = desk.get(f"/admin/approvals/approval/{approval.id}/change/").content.decode()
    assert "1 of 2: bob" in shown
    said = {"decision": "approve", "digest": approval.digest, "version": "1"}
    assert desk.post(f"/admin/approvals/approval/{approval.id}/decide/", said).status_code == 302
    assert Approval.objects.get(id=approval.id).status == "approved"


@pytest.mark.django_db(transaction=True)
def test_of_many_voters_in_four_processes_exactly_the_quorum_approves(
    asked: Asked, ruled: Ruled, project: Project
) -> None:
    ruled(outcome="ask", approvers={"quorum": 3})
    with ExitStack() as running:
        racers = []
        for number in range(4):
            user = staff(f"voter-{number}", project, "decide")
            command = [sys.executable, "-m", "tests.approvals.racers", str(project.pk), str(user.pk), "approve"]
            pipe = subprocess.PIPE
            process = running.enter_context(subprocess.Popen(command, cwd=ROOT, stdin=pipe, stdout=pipe, text=True))
            running.callback(process.kill)
            racers.append(Racer(process, user.pk))
        for _ in range(5):
            approval = asked()
            for racer in racers:
                racer.say(str(approval.id))
            assert [racer.hear() for racer in racers] == ["read"] * 4
            for racer in racers:
                racer.say("go")
            assert Counter(racer.hear() for racer in racers) == {"pending": 2, "approved": 1, "already-decided": 1}
            assert Vote.objects.filter(approval=approval).count() == 3
            assert Approval.objects.get(id=approval.id).vote_count == 3
    assert Event.objects.filter(type="approval_decided").count() == 5
