"""Messages to a session, and the outcome of each."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from accounts.actors import Actor
from core.db.clock import read_database_clock
from mailbox import session_inbox
from mailbox.envelope import NewMessage
from orchestration.models import Session, WebProcess
from orchestration.sessions import cancel, lifecycle, messages, reaper
from orchestration.states import Status
from tests.orchestration import stages

pytestmark = pytest.mark.django_db


def send(session: Session, kind: str = "task", id: str | None = None, **options: Any) -> str:
    message = NewMessage(message_kind=kind, body={"text": "go on", "answer": "go on"}, id=id)
    return messages.send(stages.project(), session.pk, message, stages.ACTOR, **options).outcome


def unread(session: Session) -> int:
    return len(session_inbox.unadmitted(session.project_id, session.address))


def live() -> Session:
    session = stages.running()
    web = WebProcess.objects.create(host="a", pid=1)
    stages.set_attempt(session, web_process=web, connection_since=read_database_clock())
    return session


def test_delivered_live_needs_a_live_connection() -> None:
    session = live()
    assert send(session) == "delivered_live"
    stages.set_attempt(session, connection_lost_at=read_database_clock())
    assert send(session) == "queued"
    assert unread(session) == 2


def test_a_message_that_was_read_before_is_answered_with_how_the_session_stands_now() -> None:
    session = live()
    assert send(session, id="m") == "delivered_live"
    session_inbox.admit(session.project_id, session.address, ["m"], 1)
    assert (send(session, id="m"), unread(session)) == ("delivered_live", 0)
    stages.set_attempt(session, connection_lost_at=read_database_clock())
    assert send(session, id="m") == "queued"
    lifecycle.finish(session.pk, 1, Status.COMPLETED)
    assert send(session, id="m") == "pending"
    assert stages.again(session).status == "completed"


@pytest.mark.parametrize("stage", [stages.queued, stages.starting, stages.suspended])
def test_queued_while_an_attempt_runs_or_will(stage: Any) -> None:
    session = stage()
    assert send(session) == "queued"
    assert (stages.again(session).status, unread(session)) == (session.status, 1)


@pytest.mark.parametrize("status", [Status.COMPLETED, Status.ERROR, Status.CANCELLED])
def test_what_is_over_is_started_once(status: Status) -> None:
    session = stages.ended(status)
    assert send(session) == "started"
    assert (stages.again(session).status, stages.again(session).attempt) == ("queued", 2)
    assert send(session) == "queued"


def test_an_answer_alone_starts_nothing() -> None:
    session = stages.ended()
    assert send(session, "reply") == "pending"
    assert (stages.again(session).status, unread(session)) == ("completed", 1)


def test_pending_when_what_runs_was_told_to_stop() -> None:
    session = live()
    cancel.cancel(stages.project(), session.pk, "enough", stages.ACTOR)
    assert send(session) == "pending"


def test_the_same_message_twice_is_stored_once_and_starts_nothing_that_has_read_it() -> None:
    session = stages.ended()
    assert send(session, id="m1") == "started"
    assert send(session, id="m1") == "queued"
    assert unread(session) == 1
    session_inbox.admit(session.project_id, session.address, ["m1"], 2)
    lifecycle.move(session.pk, 2, Status.STARTING)
    lifecycle.started(session.pk, 2)
    lifecycle.finish(session.pk, 2, Status.COMPLETED)
    assert send(session, id="m1") == "pending"
    assert stages.again(session).status == "completed"


def test_an_interrupt_stops_the_attempt_and_the_next_one_reads_the_message() -> None:
    session = live()
    assert send(session, interrupt=True) == "queued"
    assert stages.again(session).cancel_requested_at is not None
    assert lifecycle.finish(session.pk, 1, Status.CANCELLED)
    again = stages.again(session)
    assert (again.status, again.attempt, again.cancel_requested_at) == ("queued", 2, None)
    assert (stages.attempt(session, 1).status, unread(session)) == ("cancelled", 1)


def test_an_interrupted_child_is_no_completion_unless_it_finished_by_itself() -> None:
    parent = stages.running()
    child = stages.running(parent=parent.pk)
    send(child, interrupt=True)
    lifecycle.finish(child.pk, 1, Status.CANCELLED)
    assert unread(parent) == 0
    other = stages.running(parent=parent.pk)
    send(other, interrupt=True)
    lifecycle.finish(other.pk, 1, Status.COMPLETED, result="done anyway")
    assert unread(parent) == 1
    assert stages.again(other).status == "queued"


def test_an_interrupted_child_that_does_not_heed_is_killed_and_started_again() -> None:
    session = live()
    send(session, interrupt=True)
    assert reaper.end_cancelled(session.pk, 1, read_database_clock() + timedelta(seconds=21))
    assert (stages.again(session).status, stages.again(session).attempt) == ("queued", 2)


def test_a_cancel_after_an_interrupt_ends_it() -> None:
    session = live()
    send(session, interrupt=True)
    cancel.cancel(stages.project(), session.pk, "enough", stages.ACTOR)
    lifecycle.finish(session.pk, 1, Status.CANCELLED)
    assert stages.again(session).status == "cancelled"


def test_an_interrupt_wakes_what_is_suspended() -> None:
    session = stages.suspended()
    assert send(session, interrupt=True) == "started"
    resume = stages.attempt(stages.again(session)).resume
    assert resume is not None and resume["reason"] == "message"


def test_a_steering_message_of_a_child_is_signed_by_the_server() -> None:
    child = stages.running(role="runbook", assignment="echo", command=None)
    actor = Actor(kind="child", id="x", name="x", session=child.pk, attempt=1)
    claimed = NewMessage(message_kind="task", body="x", sender_role="boss", claimed_sender=True)
    signed = messages.signed(claimed, actor)
    assert (signed.sender_session, signed.sender_role, signed.claimed_sender) == (child.pk, "runbook", False)
