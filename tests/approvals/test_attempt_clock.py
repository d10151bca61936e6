"""The clock of an attempt: it stands while a person is asked, once however many asks overlap."""

from __future__ import annotations

from datetime import timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest

from accounts.actors import Actor
from accounts.models import Project, User
from approvals import attempt_clock, consumption, decisions
from approvals.decision_validation import Answer
from approvals.models import Approval, Subject
from core.db.clock import clock_at
from core.web.problems import Problem
from tests.approvals.conftest import NOON, Asked, child

pytestmark = pytest.mark.django_db


def after(secs: float) -> Any:
    return NOON + timedelta(seconds=secs)


@pytest.fixture
def deny(project: Project, alice: User) -> Any:
    def answer(approval: Any, now: Any) -> None:
        with clock_at(now):
            decisions.decide(project.pk, approval.id, Answer(decision="deny"), Actor.of_user(alice), "admin")

    return answer


def test_overlapping_asks_stop_the_clock_once(asked: Asked, session: UUID, deny: Any) -> None:
    first = asked(now=after(0))
    second = asked(now=after(10))
    assert attempt_clock.clock(session, 1) == (2, after(0), 0.0, None)
    deny(first, after(30))
    assert attempt_clock.clock(session, 1) == (1, after(0), 0.0, after(30))
    deny(second, after(40))
    assert attempt_clock.clock(session, 1) == (0, None, 40.0, after(40))


def test_waits_apart_add_up(asked: Asked, session: UUID, deny: Any) -> None:
    deny(asked(now=after(0)), after(10))
    deny(asked(now=after(100)), after(105))
    assert attempt_clock.clock(session, 1) == (0, None, 15.0, after(105))


def test_what_is_asked_by_rest_stops_no_clock(asked: Asked, session: UUID, deny: Any) -> None:
    approval = asked(via="rest", now=after(0))
    assert attempt_clock.clock(session, 1) == (0, None, 0.0, None)
    deny(approval, after(10))
    assert attempt_clock.clock(session, 1) == (0, None, 0.0, None)


def test_withdrawing_and_expiring_start_the_clock_again(
    asked: Asked, session: UUID, project: Project, alice: User
) -> None:
    first = asked(now=after(0))
    with clock_at(after(3)):
        decisions.withdraw(project.pk, first.id, Actor.of_user(alice))
    assert attempt_clock.clock(session, 1).waited_secs == 3
    asked(expires_in_secs=4, now=after(10))
    with clock_at(after(15)):
        assert decisions.expire_due() == 1
    assert attempt_clock.clock(session, 1) == (0, None, 8.0, after(15))


def test_the_end_of_an_attempt_cancels_what_is_pending_and_nothing_else(
    asked: Asked, approved: Asked, session: UUID, project: Project, alice: User
) -> None:
    kept, pending, aside = approved(), asked(), asked(via="rest")
    assert attempt_clock.settle(session, 1) == 2
    for approval in (pending, aside):
        approval.refresh_from_db()
        assert (approval.status, approval.cancel_reason) == ("cancelled", "attempt_ended")
    assert Approval.objects.get(id=kept.id).status == "approved"
    assert kept in Approval.objects.unconsumed()
    assert attempt_clock.clock(session, 1).pending == 0


def test_settling_twice_changes_nothing_more(asked: Asked, session: UUID) -> None:
    asked(now=after(0))
    with clock_at(after(5)):
        assert attempt_clock.settle(session, 1) == 1
    with clock_at(after(9)):
        assert attempt_clock.settle(session, 1) == 0
    assert attempt_clock.clock(session, 1) == (0, None, 5.0, after(5))


def test_what_an_end_left_pending_is_cancelled_by_the_sweeper(asked: Asked, project: Project, session: UUID) -> None:
    """As it is when somebody was answering at the second look of `settle`, and was rolled back."""
    left = asked()
    attempt_clock.settle(session, 1)
    Approval.objects.update(status="pending", settled_at=None, cancel_reason=None)
    attempt_clock.open(project.pk, session, 2)
    running, alone = asked(attempt=2), asked(session=None, attempt=None)
    assert attempt_clock.settle_left() == 1
    assert attempt_clock.settle_left() == 0
    for approval, status in ((left, "cancelled"), (running, "pending"), (alone, "pending")):
        approval.refresh_from_db()
        assert approval.status == status


def test_another_attempts_approvals_stay(asked: Asked, project: Project, session: UUID) -> None:
    attempt_clock.open(project.pk, session, 2)
    later = asked(attempt=2)
    attempt_clock.settle(session, 1)
    later.refresh_from_db()
    assert later.status == "pending"


def test_what_was_approved_for_an_attempt_that_ended_never_runs(approved: Asked, session: UUID) -> None:
    approval = approved()
    attempt_clock.settle(session, 1)
    with pytest.raises(Problem) as refusal:
        consumption.consume_request(session, 1, approval.request_id, digest=approval.digest, claim="c")
    assert refusal.value.type == "not-running"
    assert Approval.objects.get(id=approval.id).consumed_at is None


def test_an_attempt_that_was_never_opened_has_waited_for_nothing() -> None:
    assert attempt_clock.clock(uuid4(), 1) == (0, None, 0.0, None)


def test_opening_twice_keeps_the_clock(asked: Asked, project: Project, session: UUID) -> None:
    asked(now=after(0))
    attempt_clock.open(project.pk, session, 1)
    assert attempt_clock.clock(session, 1).pending == 1


def test_an_ask_aside_and_one_over_the_connection_are_counted_apart(asked: Asked, project: Project) -> None:
    """By the clock of the database: each has a compiled statement of its own."""
    aside, over = asked(via="rest"), asked()

    def counted() -> tuple[int, int, bool]:
        subject = Subject.objects.get()
        return subject.pending, subject.pending_aside, subject.waiting_since is not None

    assert counted() == (1, 1, True)
    for approval, left in ((aside, (1, 0, True)), (over, (0, 0, False))):
        decisions.withdraw(project.pk, approval.id, child(approval.session))
        assert counted() == left
