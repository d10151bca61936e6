"""One winner among concurrent answers, deadlines, ends of attempts, and executors."""

from __future__ import annotations

import functools
from collections import Counter
from datetime import timedelta
from typing import Any
from uuid import UUID

import pytest

from accounts.actors import Actor
from accounts.models import Project
from approvals import attempt_clock, consumption, decisions
from approvals.decision_validation import Answer
from approvals.models import Approval, Subject
from core.db.clock import clock_at
from core.web.problems import Problem
from ledger.audit import chain
from ledger.models import AuditEntry, Event
from tests.approvals.conftest import NOON, Asked, child, staff
from tests.approvals.racing import all_at_once
from tests.clock import call_at

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def people(project: Project) -> list[Any]:
    return [Actor.of_user(staff(f"person-{number}", project, "decide")) for number in range(8)]


def deciding(approval: Any, decision: Any, actor: Any, now: Any = None) -> Any:
    answer = Answer(decision=decision, digest=approval.digest, version=1)
    return functools.partial(_status, approval.project_id, approval.id, answer, actor, now)


def _status(project_id: Any, approval_id: str, answer: Any, actor: Any, now: Any) -> Any:
    with clock_at(now):
        return decisions.decide(project_id, approval_id, answer, actor, "rest").status


def test_of_eight_answers_at_once_one_wins(asked: Asked, people: Any, project: Project) -> None:
    for _ in range(6):
        approval = asked()
        kinds = ["approve", "deny"] * 4
        outcomes = all_at_once([deciding(approval, *each) for each in zip(kinds, people, strict=True)])
        approval.refresh_from_db()
        assert Counter(outcomes) == {approval.status: 1, "already-decided": 7}
        assert people[outcomes.index(approval.status)].user_id == approval.decided_by["user_id"]
    assert AuditEntry.objects.filter(action="approval.decided").count() == 6
    assert Event.objects.filter(type="approval_decided").count() == 6
    assert attempt_clock.clock(approval.session, 1).pending == 0
    assert chain.verify(project.pk) is None


def test_thirty_two_executors_of_one_approval_run_it_once(approved: Asked, session: UUID, project: Project) -> None:
    approval = approved()

    def consume(claim: Any) -> Any:
        return consumption.consume_request(session, 1, approval.request_id, digest=approval.digest, claim=claim)

    outcomes = all_at_once([functools.partial(consume, f"claim-{number}") for number in range(32)])
    assert Counter(map(str, outcomes))["consumed"] == 31
    approval.refresh_from_db()
    assert approval.consume_claim == f"claim-{next(n for n, o in enumerate(outcomes) if o != 'consumed')}"
    assert AuditEntry.objects.filter(action="approval.consumed").count() == 1
    assert chain.verify(project.pk) is None


def test_an_answer_and_the_deadline_end_in_one_word(asked: Asked, people: Any) -> None:
    """The answer believes that it is in time, the sweeper that it is not: each by the clock it was given."""
    late = NOON + timedelta(seconds=11)
    for _ in range(8):
        approval = asked(expires_in_secs=10, now=NOON)
        answer, expire = (
            deciding(approval, "approve", people[0], NOON),
            functools.partial(decisions.expire, approval.id),
        )
        outcome, expired = all_at_once([answer, functools.partial(call_at, late, expire)])
        approval.refresh_from_db()
        assert (outcome, expired) in {("approved", False), ("expired", True)}
        assert approval.status == outcome
        told = Event.objects.exclude(type="approval_requested").values_list("payload", flat=True)
        assert [payload.get("approval_id") for payload in told].count(str(approval.id)) == 1
    assert attempt_clock.clock(approval.session, 1).pending == 0


def test_an_answer_and_a_withdrawal_end_in_one_word(asked: Asked, people: Any, session: UUID, project: Project) -> None:
    for _ in range(6):
        approval = asked()
        withdraw = functools.partial(decisions.withdraw, project.pk, approval.id, child(session))
        outcome, _ = all_at_once([deciding(approval, "approve", people[0]), withdraw])
        approval.refresh_from_db()
        assert (outcome, approval.status) in {("approved", "approved"), ("already-decided", "cancelled")}
        told = Event.objects.exclude(type="approval_requested").values_list("payload", flat=True)
        assert [payload.get("approval_id") for payload in told].count(str(approval.id)) == 1
    assert attempt_clock.clock(session, 1).pending == 0


def test_an_answer_and_the_end_of_the_attempt_end_in_one_word(
    asked: Asked, people: Any, session: UUID, project: Project
) -> None:
    for attempt in range(2, 8):
        attempt_clock.open(project.pk, session, attempt)
        approval = asked(attempt=attempt)
        settle = functools.partial(attempt_clock.settle, session, attempt)
        outcome, _ = all_at_once([deciding(approval, "approve", people[0]), settle])
        approval.refresh_from_db()
        assert (outcome, approval.status) in {("approved", "approved"), ("already-decided", "cancelled")}
        subject = Subject.objects.get(session=session, attempt=attempt)
        assert (subject.pending, subject.pending_aside, subject.waiting_since) == (0, 0, None)
        if approval.status == "approved":
            with pytest.raises(Problem, match="is running"):
                consumption.consume(project.pk, approval.id, digest=approval.digest, actor=child(session, attempt))


def test_an_ask_and_the_end_of_the_attempt_leave_nothing_pending(asked: Asked, session: UUID, project: Project) -> None:
    for attempt in range(2, 8):
        attempt_clock.open(project.pk, session, attempt)
        asks = [functools.partial(asked, attempt=attempt) for _ in range(6)]
        outcomes = all_at_once([*asks, functools.partial(attempt_clock.settle, session, attempt)])
        assert not Approval.objects.of(session, attempt).pending().exists()
        refused = outcomes.count("not-running")
        assert Approval.objects.of(session, attempt).filter(status="cancelled").count() == 6 - refused


def test_a_consume_and_the_end_of_the_attempt_never_both_win_out_of_turn(
    approved: Asked, session: UUID, project: Project
) -> None:
    for attempt in range(2, 8):
        attempt_clock.open(project.pk, session, attempt)
        approval = approved(attempt=attempt)
        consume = functools.partial(
            consumption.consume, project.pk, approval.id, digest=approval.digest, actor=child(session, attempt)
        )
        outcome, _ = all_at_once([consume, functools.partial(attempt_clock.settle, session, attempt)])
        approval.refresh_from_db()
        assert (outcome == "not-running") is (approval.consumed_at is None)
        closed_at = Subject.objects.get(session=session, attempt=attempt).closed_at
        assert approval.consumed_at is None or closed_at is not None


def test_the_same_request_asked_at_once_is_one_row(asked: Asked, session: UUID) -> None:
    rows = all_at_once([functools.partial(asked, request_id="same") for _ in range(8)])
    assert len({row.id for row in rows}) == 1
    assert attempt_clock.clock(session, 1).pending == 1


def test_asks_at_once_stay_within_the_bound(asked: Asked, session: UUID, timings: Any) -> None:
    timings(pending_approvals_per_attempt=5)
    outcomes = all_at_once([asked for _ in range(12)])
    assert outcomes.count("too-many") == 7
    assert attempt_clock.clock(session, 1).pending == 5


def test_sweepers_in_several_copies_expire_each_once(asked: Asked, session: UUID) -> None:
    for _ in range(10):
        asked(expires_in_secs=1, now=NOON)
    late = functools.partial(call_at, NOON + timedelta(seconds=2), decisions.expire_due)
    assert sum(all_at_once([late] * 4)) == 10
    assert Event.objects.filter(type="approval_expired").count() == 10
    assert attempt_clock.clock(session, 1).pending == 0
