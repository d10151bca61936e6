"""Suspending, the condition of the wait, and the one resume."""

from __future__ import annotations

from datetime import timedelta
from typing import Any
from uuid import uuid4

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

from accounts.actors import Actor
from accounts.models import User
from core.db.clock import clock_at, read_database_clock
from core.web.problems import Problem
from ledger.models import SkippedRow
from mailbox import session_inbox
from orchestration.models import Session
from orchestration.sessions import cancel, lifecycle, transitions, waits
from orchestration.sessions.waits import Wait
from orchestration.states import Status
from tests.orchestration import stages

pytestmark = pytest.mark.django_db


def family(count: int) -> tuple[Session, list[Session]]:
    parent = stages.running()
    return parent, [stages.running(parent=parent.pk) for _ in range(count)]


def suspend(parent: Session, **wait: Any) -> str:
    assert lifecycle.suspend(parent.pk, parent.attempt, Wait(**wait) if wait else None)
    return stages.again(parent).status


def end(child: Session, status: Status = Status.COMPLETED) -> None:
    assert lifecycle.finish(child.pk, child.attempt, status)
    # In a test's own transaction nothing commits, so what follows the commit is done here.
    if child.parent_id:
        waits.resume_if_due(child.parent_id)


def resumed(parent: Session) -> dict[str, Any] | None:
    row = stages.again(parent)
    return stages.attempt(row).resume if row.attempt > parent.attempt else None


def test_all_waits_for_the_last_child() -> None:
    parent, children = family(3)
    assert suspend(parent, wait_for="all") == "suspended"
    for child in children[:2]:
        end(child, Status.ERROR)
        assert resumed(parent) is None
    end(children[2])
    told = resumed(parent)
    assert told is not None and told["reason"] == "children"
    assert [child["status"] for child in told["children"]] == ["error", "error", "completed"]


def test_a_resume_reads_the_states_of_the_children_once() -> None:
    parent, children = family(2)
    suspend(parent, wait_for="all")
    for child in children:
        assert lifecycle.finish(child.pk, child.attempt, Status.COMPLETED)
    with CaptureQueriesContext(connection) as queries:
        waits.resume_if_due(parent.pk)
    assert resumed(parent)
    looks = [each["sql"] for each in queries if '"orchestration_session"."id" IN (' in each["sql"]]
    assert len(looks) == 1, looks


def test_any_waits_for_the_first_child() -> None:
    parent, children = family(3)
    suspend(parent, wait_for="any")
    end(children[1])
    assert resumed(parent)


def test_first_error_resumes_at_a_failure_and_otherwise_with_the_last() -> None:
    parent, children = family(3)
    suspend(parent, wait_for="first_error")
    end(children[0])
    assert resumed(parent) is None
    end(children[1], Status.TIMEOUT)
    assert resumed(parent)
    happy, others = family(2)
    suspend(happy, wait_for="first_error")
    end(others[0])
    assert resumed(happy) is None
    end(others[1])
    assert resumed(happy)


def test_a_suspended_child_is_not_an_end() -> None:
    parent, (child,) = family(1)
    suspend(parent)
    stages.queued(parent=child.pk)
    assert suspend(child) == "suspended"
    assert not waits.resume_if_due(parent.pk)


def test_nothing_left_to_wait_for_resumes_in_the_same_transaction() -> None:
    parent, (child,) = family(1)
    end(child)
    assert suspend(parent) == "queued"
    assert stages.attempt(parent, 1).status == "suspended"
    told = resumed(parent)
    assert told is not None and told["reason"] == "children"


def test_named_children_that_are_over_count_as_over() -> None:
    parent, children = family(2)
    end(children[0])
    assert suspend(parent, wait_for="any", children=[child.pk for child in children]) == "queued"


def test_a_recorded_wait_counts_when_the_end_says_nothing() -> None:
    parent, children = family(2)
    lifecycle.wait(stages.project(), parent.pk, Wait(wait_for="any", children=[children[0].pk]), stages.ACTOR)
    assert suspend(parent) == "suspended"
    end(children[1])
    assert resumed(parent) is None
    end(children[0])
    assert resumed(parent)


def test_a_stranger_cannot_be_waited_for_and_nothing_changes() -> None:
    parent, _ = family(1)
    stranger = stages.running()
    for who in (stranger.pk, uuid4()):
        with pytest.raises(Problem) as refusal:
            lifecycle.suspend(parent.pk, 1, Wait(children=[who]))
        assert refusal.value.status == 422
    assert stages.again(parent).status == "running"


def test_only_a_running_attempt_can_record_a_wait() -> None:
    with pytest.raises(Problem) as refusal:
        lifecycle.wait(stages.project(), stages.queued().pk, Wait(), stages.ACTOR)
    assert (refusal.value.status, refusal.value.type) == (409, "not-running")


def test_an_attempt_that_is_over_records_no_wait_for_the_next_one() -> None:
    """Its token may have been looked at just before it ended."""
    parent = stages.running()
    old = Actor(kind="child", id="x", name="x", session=parent.pk, attempt=1)
    transitions.requeue(parent.pk, 1, "connection lost")
    transitions.move(parent.pk, 2, Status.STARTING)
    lifecycle.started(parent.pk, 2)
    with pytest.raises(Problem) as refusal:
        lifecycle.wait(stages.project(), parent.pk, Wait(), old)
    assert refusal.value.type == "not-running"
    assert stages.again(parent).waiting_for is None


def test_the_lease_ends_a_wait_that_nothing_else_ends() -> None:
    parent, _ = family(1)
    suspend(parent, timeout_secs=30)
    now = read_database_clock()
    with clock_at(now + timedelta(seconds=29)):
        assert waits.sweep() == 0
    with clock_at(now + timedelta(seconds=32)):
        assert waits.sweep() == 1
    told = resumed(parent)
    assert told is not None and told["reason"] == "timeout"
    assert [child["status"] for child in told["children"]] == ["running"]
    assert "Nothing about the children was verified" in told["note"]


def test_a_suspended_parent_without_a_recorded_wait_is_counted_and_shown(client: Client) -> None:
    parent, _ = family(1)
    other, (child,) = family(1)
    suspend(parent)
    suspend(other)
    Session.objects.filter(pk=parent.pk).update(waiting_for=None, wait_until=None)
    Session.objects.filter(pk=child.pk).update(status=Status.COMPLETED, finished_at=read_database_clock())
    assert waits.sweep() == 1
    assert (stages.again(parent).status, stages.again(other).status) == ("suspended", "queued")
    assert SkippedRow.objects.get(sweep="waits_sweep").row == str(parent.pk)
    client.force_login(User.objects.create_superuser("super"))
    page = client.get(f"/admin/orchestration/session/{parent.pk}/change/").content.decode()
    assert "Suspended without a recorded wait" in page
    cancel.cancel(stages.project(), parent.pk, "enough", Actor.system("test"))
    waits.sweep()
    assert not SkippedRow.objects.exists()


def test_the_longest_lease_is_six_hours() -> None:
    parent, _ = family(1)
    suspend(parent, timeout_secs=7 * 86400)
    now = read_database_clock()
    with clock_at(now + timedelta(hours=5, minutes=59)):
        assert waits.sweep() == 0
    with clock_at(now + timedelta(hours=6, seconds=5)):
        assert waits.sweep() == 1


def test_the_sweeper_finds_what_the_hint_after_the_commit_did_not() -> None:
    parent, (child,) = family(1)
    suspend(parent)
    lifecycle.finish(child.pk, 1, Status.COMPLETED)
    assert stages.again(parent).status == "suspended"
    assert waits.sweep() == 1
    assert waits.sweep() == 0
    assert stages.again(parent).attempt == 2


def test_a_child_that_was_told_to_cancel_ends_when_it_suspends() -> None:
    parent, (child,) = family(1)
    cancel.cancel(stages.project(), child.pk, "enough", stages.ACTOR)
    assert suspend(child) == "cancelled"
    inbox = session_inbox.unadmitted(parent.project_id, parent.address)
    assert [message.body["status"] for message in inbox] == ["cancelled"]
