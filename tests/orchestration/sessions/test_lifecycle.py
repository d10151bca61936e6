"""The operations of a session's life: their guards and their effects."""

from __future__ import annotations

import pytest

from accounts import credentials
from core.web.problems import Problem
from ledger.models import Event, OutboxEntry
from mailbox import session_inbox
from mailbox.envelope import NewMessage
from orchestration.models import Attempt, Session
from orchestration.sessions import completion, lifecycle, messages, spawn, transitions
from orchestration.states import ENDED, Status
from tests.orchestration import stages

pytestmark = pytest.mark.django_db


def types(session: Session) -> list[str]:
    return list(Event.objects.filter(session=session.pk).order_by("cursor").values_list("type", flat=True))


def test_a_spawn_writes_session_attempt_and_outbox_row() -> None:
    session = stages.queued()
    assert (session.status, session.attempt, session.root) == ("queued", 1, session.pk)
    assert stages.attempt(session).status == "queued"
    assert OutboxEntry.objects.filter(key=f"launch:{session.pk}:1").exists()
    assert types(session) == ["session_created"]


def test_the_first_word_makes_it_run_and_a_second_one_changes_nothing() -> None:
    session = stages.starting()
    assert lifecycle.started(session.pk, 1)
    began = stages.attempt(session).running_at
    assert lifecycle.started(session.pk, 1)
    assert stages.attempt(session).running_at == began is not None
    assert types(session).count("session_running") == 1


def test_an_old_attempt_cannot_start_finish_or_suspend() -> None:
    session = stages.running()
    transitions.requeue(session.pk, 1, "again")
    assert not lifecycle.started(session.pk, 1)
    assert not lifecycle.finish(session.pk, 1, Status.COMPLETED)
    assert not lifecycle.suspend(session.pk, 1)
    assert (stages.again(session).status, stages.again(session).attempt) == ("queued", 2)


def test_an_end_is_told_once_and_a_late_word_changes_nothing() -> None:
    session = stages.ended()
    assert not lifecycle.finish(session.pk, 1, Status.ERROR, error="late")
    assert stages.again(session).status == "completed"
    assert types(session).count("sub_agent_completed") == 1


def test_the_end_of_an_attempt_ends_its_tokens() -> None:
    session = stages.running()
    token = spawn.mint(session)
    lifecycle.finish(session.pk, 1, Status.COMPLETED)
    assert credentials.recognise(token).state == "ended"


@pytest.mark.parametrize("end", ["finish", "suspend", "requeue"])
def test_the_end_of_an_attempt_settles_its_approvals_and_no_other(end: str) -> None:
    session, other = stages.running(), stages.running()
    mine, theirs = stages.asked(session), stages.asked(other)
    stages.queued(parent=session.pk)
    if end == "finish":
        lifecycle.finish(session.pk, 1, Status.COMPLETED)
    elif end == "suspend":
        lifecycle.suspend(session.pk, 1)
    else:
        transitions.requeue(session.pk, 1, "connection lost")
    mine.refresh_from_db()
    theirs.refresh_from_db()
    assert (mine.status, mine.cancel_reason, theirs.status) == ("cancelled", "attempt_ended", "pending")


def test_a_new_attempt_may_ask_and_an_old_one_may_not() -> None:
    session = stages.running()
    transitions.requeue(session.pk, 1, "again")
    with pytest.raises(Problem):
        stages.asked(session)
    assert stages.asked(stages.again(session)).status == "pending"


def test_a_completion_reaches_the_parent_with_the_result() -> None:
    parent = stages.running()
    child = stages.running(parent=parent.pk)
    lifecycle.finish(child.pk, 1, Status.COMPLETED, result="three")
    (message,) = session_inbox.unadmitted(parent.project_id, parent.address)
    assert message.message_kind == "completion"
    assert message.message_id == completion.message_id(child.pk, 1)
    told = {key: message.body[key] for key in ("child_session_id", "parent_session_id", "attempt", "status", "result")}
    assert told == {
        "child_session_id": str(child.pk),
        "parent_session_id": str(parent.pk),
        "attempt": 1,
        "status": "completed",
        "result": "three",
    }
    assert message.body["completed_at"]


def test_the_end_of_a_child_is_among_the_events_of_its_parent() -> None:
    parent = stages.running()
    child = stages.running(parent=parent.pk)
    lifecycle.finish(child.pk, 1, Status.COMPLETED)
    (told,) = Event.objects.filter(session=parent.pk, type="sub_agent_completed")
    assert (told.attempt, told.payload["child_session_id"], told.payload["status"]) == (1, str(child.pk), "completed")
    lifecycle.finish(parent.pk, 1, Status.COMPLETED)
    assert types(parent).count("sub_agent_completed") == 2


def test_a_cancelled_approval_says_why_in_the_feed() -> None:
    session = stages.running()
    stages.asked(session)
    lifecycle.finish(session.pk, 1, Status.COMPLETED)
    (told,) = Event.objects.filter(session=session.pk, type="approval_cancelled")
    assert told.payload["reason"] == "attempt_ended"


def test_a_child_that_takes_the_id_of_its_own_completion_is_refused_and_can_be_ended() -> None:
    parent = stages.running()
    child = stages.running(parent=parent.pk)
    squatting = NewMessage(id=completion.message_id(child.pk, 1), message_kind="reply", body={"answer": "hello"})
    with pytest.raises(Problem):
        messages.send(stages.project(), parent.pk, squatting, stages.ACTOR)
    assert lifecycle.finish(child.pk, 1, Status.TIMEOUT, error="too long")
    (message,) = session_inbox.unadmitted(parent.project_id, parent.address)
    assert (message.message_kind, message.body["status"]) == ("completion", "timeout")


def test_a_parent_that_is_over_gets_no_message() -> None:
    parent = stages.running()
    child = stages.running(parent=parent.pk)
    lifecycle.finish(parent.pk, 1, Status.COMPLETED)
    lifecycle.finish(child.pk, 1, Status.COMPLETED)
    assert not session_inbox.unadmitted(parent.project_id, parent.address)
    assert types(child).count("sub_agent_completed") == 1


def test_a_requeued_or_suspended_attempt_is_not_a_completion() -> None:
    parent = stages.running()
    child = stages.running(parent=parent.pk)
    transitions.requeue(child.pk, 1, "connection lost")
    grandparent = stages.suspended()
    assert not session_inbox.unadmitted(parent.project_id, parent.address)
    assert "sub_agent_completed" not in types(child) + types(grandparent)


def test_a_result_that_is_too_long_is_refused_and_nothing_changes() -> None:
    session = stages.running()
    with pytest.raises(Problem):
        lifecycle.finish(session.pk, 1, Status.COMPLETED, result="x" * (128 * 1024 + 1))
    assert stages.again(session).status == "running"
    assert stages.attempt(session).ended_at is None


def test_only_one_attempt_of_a_session_is_ever_open() -> None:
    session = stages.running()
    for number in range(1, 4):
        transitions.requeue(session.pk, number, "again")
        transitions.move(session.pk, number + 1, Status.STARTING)
    assert Attempt.objects.filter(session=session).exclude(status__in=sorted(ENDED)).count() == 1
    assert stages.again(session).attempt == 4
