"""An answer counts for the very action that was shown, once; and the controls: the same without a guard goes wrong."""

from __future__ import annotations

from datetime import timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest

from accounts.actors import Actor
from accounts.models import Project, User
from approvals import attempt_clock, consumption, decisions, selectors, waiting
from approvals.canonical_action import Ask, prepare
from approvals.decision_validation import Answer
from approvals.models import Approval, ApprovalQuerySet
from approvals.rules import editing
from approvals.rules.bodies import RuleBody, RuleMatch
from approvals.states import Status
from core.db.clock import clock_at
from core.web.problems import Problem
from ledger import unit_of_work
from ledger.models import AuditEntry, Event
from tests import before_django
from tests.approvals.conftest import NOON, Asked, child

pytestmark = pytest.mark.django_db
ACTION = {"tool_name": "shell", "permission": "execute", "resource": "ls -l", "request_id": "swapped"}
SAID: dict[str, Any] = ACTION | {"arguments": {"command": "ls -l"}, "tool_schema_version": "1"}
FACT = {"name": "head", "value_hash": "a", "shown": "main"}


def refused(call: Any, *args: Any, **words: Any) -> str:
    with pytest.raises(Problem) as refusal:
        call(*args, **words)
    return refusal.value.type


def nothing_ran(approval: Approval) -> bool:
    approval.refresh_from_db()
    return approval.consumed_at is None and not AuditEntry.objects.filter(action="approval.consumed").exists()


@pytest.mark.parametrize(
    "swap",
    [
        {"arguments": {"command": "ls -L"}},
        {"arguments": {"command": "ls -l", "folder": "/"}},
        {"resource": "ls -l "},
        {"tool_name": "Shell"},
        {"permission": "executE"},
        {"tool_schema_version": "2"},
        {"request_id": "other"},
    ],
    ids=lambda swap: "+".join(swap),
)
def test_a_change_of_one_byte_of_the_action_is_a_mismatch(
    approved: Asked, session: UUID, project: Project, swap: Any
) -> None:
    approval = approved(**SAID)
    other = prepare(str(project.pk), Ask(session=session, attempt=1, **SAID | swap))
    words = {"digest": other.digest, "claim": "mine", "actor": child(session)}
    assert refused(consumption.consume, project.pk, approval.id, **words) == "digest-mismatch"
    assert nothing_ran(approval)


def test_each_other_change_since_the_answer_has_a_reason_of_its_own(
    approved: Asked, session: UUID, project: Project
) -> None:
    first = approved(**SAID, preconditions=[FACT])
    mine = {"digest": first.digest, "claim": "mine"}

    def by_name(session: UUID, attempt: int, **said: Any) -> str:
        return refused(consumption.consume_request, session, attempt, "swapped", **mine | said)

    assert by_name(session, 2) == by_name(uuid4(), 1) == "not-found"
    moved = [{"name": "head", "value_hash": "b"}]
    assert by_name(session, 1, preconditions=moved) == "stale"
    assert nothing_ran(first)
    second = approved(**SAID | {"request_id": "denied by now"})
    body = RuleBody(name="no shells", outcome="deny", match=RuleMatch(tools=["shell"]))
    editing.create(project.pk, body, Actor.system("tests"))
    again = {"digest": second.digest, "claim": "mine", "actor": child(session)}
    assert refused(consumption.consume, project.pk, second.id, **again) == "policy-changed"
    attempt_clock.settle(session, 1)
    assert refused(consumption.consume, project.pk, second.id, **again) in ("not-running", "policy-changed")
    assert nothing_ran(second)


def expect_waits_that_change_nothing(asked: Asked, project: Project, alice: User, bearer: Any, times: int) -> None:
    approval = asked(via="rest")
    key = bearer(project, alice)
    before = AuditEntry.objects.count(), Event.objects.count()
    for _ in range(times):
        answer = before_django.call("GET", f"/api/v1/approvals/{approval.id}/wait", b"", key, {"timeout": "0"}).json()
        assert (answer["status"], answer["timed_out"]) == ("pending", True)
    assert (AuditEntry.objects.count(), Event.objects.count()) == before
    answered = Answer(decision="approve", digest=approval.digest, version=1)
    assert decisions.decide(project.pk, approval.id, answered, Actor.of_user(alice), "rest").status == "approved"


def test_many_waits_that_end_without_an_answer_change_nothing(
    asked: Asked, project: Project, alice: User, bearer: Any
) -> None:
    expect_waits_that_change_nothing(asked, project, alice, bearer, times=25)


# --- controls: a guard is taken away -----------------------------------------------------------------------------


def answer_late(asked: Asked, project: Project, alice: User, bob: User) -> tuple[Approval, Any]:
    """Let Bob deny at a row that he read before Alice approved it."""
    # Without a session: the counts of an attempt would notice a second end, too.
    approval = asked(session=None, attempt=None, via="rest", actor=Actor.system("tests"))
    stale = selectors.find(project.pk, approval.id, Actor.of_user(bob))
    approve = Answer(decision="approve", digest=approval.digest)
    decisions.decide(project.pk, approval.id, approve, Actor.of_user(alice), "rest")
    deny = Answer(decision="deny", digest=approval.digest)
    try:
        with unit_of_work.transaction():
            said = decisions._decide(stale, deny, Actor.of_user(bob), "rest").status
    except Problem as refusal:
        said = refusal.type
    return Approval.objects.get(pk=approval.pk), said


def test_the_second_of_two_answers_loses_by_the_guard_of_the_update(
    asked: Asked, project: Project, alice: User, bob: User
) -> None:
    approval, said = answer_late(asked, project, alice, bob)
    assert (approval.status, said) == ("approved", "already-decided")


def test_control_without_the_guard_of_the_update_both_answers_win(
    asked: Asked, project: Project, alice: User, bob: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(decisions, "SETTLED", type(decisions.SETTLED)())
    monkeypatch.setattr(decisions, "sources", lambda to: sorted(each.value for each in Status))
    approval, said = answer_late(asked, project, alice, bob)
    assert (approval.status, said) == ("denied", "denied")


def test_control_without_its_guard_an_execution_is_taken_twice(
    approved: Asked, session: UUID, project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    approval = approved()

    def consume(claim: str) -> str | None:
        words = {"digest": approval.digest, "claim": claim, "actor": child(session)}
        return consumption.consume(project.pk, approval.id, **words).consume_claim

    assert consume("first") == "first"
    assert refused(consume, "second") == "consumed"
    whole = ApprovalQuerySet.filter

    def unguarded(rows: Any, *of: Any, **by: Any) -> Any:
        by.pop("consumed_at__isnull", None)
        return whole(rows, *of, **by)

    monkeypatch.setattr(ApprovalQuerySet, "filter", unguarded)
    assert consume("second") == "second"


def test_control_a_wait_that_withdraws_at_its_end_is_noticed(
    asked: Asked, project: Project, alice: User, bearer: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    look = waiting.look

    def gives_up(project_id: Any, approval_id: UUID, actor: Actor) -> Approval:
        if look(project_id, approval_id, actor).status == Status.PENDING:
            decisions.withdraw(project_id, approval_id, actor)
        return look(project_id, approval_id, actor)

    monkeypatch.setattr(waiting, "look", gives_up)
    with pytest.raises(AssertionError):
        expect_waits_that_change_nothing(asked, project, alice, bearer, times=1)


def answer_after_the_deadline(asked: Asked, project: Project, alice: User) -> str:
    """Let Alice approve, after the deadline, a row that she read before it."""
    approval = asked(session=None, attempt=None, via="rest", actor=Actor.system("tests"), expires_in_secs=10, now=NOON)
    with clock_at(NOON):
        stale = selectors.find(project.pk, approval.id, Actor.of_user(alice))
    answer = Answer(decision="approve", digest=approval.digest)
    try:
        with clock_at(NOON + timedelta(seconds=11)), unit_of_work.transaction():
            return str(decisions._decide(stale, answer, Actor.of_user(alice), "rest").status)
    except Problem as refusal:
        return refusal.type


def test_an_answer_after_the_deadline_loses_by_the_guard_of_the_update(
    asked: Asked, project: Project, alice: User
) -> None:
    assert answer_after_the_deadline(asked, project, alice) == "expired"


def test_control_without_the_guard_of_the_deadline_a_late_answer_wins(
    asked: Asked, project: Project, alice: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(decisions, "SETTLED", type(decisions.SETTLED)())
    monkeypatch.setattr(ApprovalQuerySet, "in_time", lambda rows, now: rows)
    assert answer_after_the_deadline(asked, project, alice) == "approved"


def test_control_without_its_digest_another_action_runs(
    approved: Asked, session: UUID, project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    approval = approved(**SAID)
    other = prepare(str(project.pk), Ask(session=session, attempt=1, **SAID | {"arguments": {"command": "rm"}}))
    words = {"digest": other.digest, "claim": "mine", "actor": child(session)}
    assert refused(consumption.consume, project.pk, approval.id, **words) == "digest-mismatch"
    whole = ApprovalQuerySet.filter

    def unguarded(rows: Any, *of: Any, **by: Any) -> Any:
        by.pop("digest", None)
        return whole(rows, *of, **by)

    monkeypatch.setattr(ApprovalQuerySet, "filter", unguarded)
    consumption.consume(project.pk, approval.id, **words)
    assert not nothing_ran(approval)
