"""Many threads on one attempt, on a real database: one winner, and each effect once."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import Any

import pytest
from django.db import connection

from core.web.problems import Problem
from ledger.models import Event
from mailbox import session_inbox
from mailbox.envelope import NewMessage
from mailbox.models import Message
from orchestration.models import Attempt, Session
from orchestration.runners import process
from orchestration.sessions import cancel, launch, lifecycle, messages, transitions, waits, watchdog
from orchestration.states import ENDED, Status
from tests.clock import call_at
from tests.orchestration import stages

pytestmark = pytest.mark.django_db(transaction=True)

THREADS = 32


def race(*calls: Callable[[], Any]) -> list[Any]:
    """Run all of them at once. Return each result, or its refusal."""
    gate = threading.Barrier(len(calls))

    def run(call: Callable[[], Any]) -> Any:
        gate.wait(30)
        try:
            return call()
        except Problem as refusal:
            return refusal
        finally:
            connection.close()

    with ThreadPoolExecutor(max_workers=len(calls)) as threads:
        return list(threads.map(run, calls))


def completions(session: Session) -> int:
    """Count the completions on its own stream. Its parent's stream has one more."""
    told = Event.objects.filter(session=session.pk, type="sub_agent_completed")
    return sum(event.payload["child_session_id"] == str(session.pk) for event in told)


def open_attempts(session: Session) -> int:
    return Attempt.objects.filter(session=session).exclude(status__in=sorted(ENDED)).count()


def test_of_32_ends_one_wins_and_the_parent_hears_of_one() -> None:
    parent = stages.running()
    child = stages.running(parent=parent.pk)
    words = [Status.COMPLETED, Status.ERROR, Status.TIMEOUT, Status.CANCELLED]
    ends = [lambda to=word: lifecycle.finish(child.pk, 1, to, error=str(to)) for word in words * 8]
    answers = race(*ends)
    assert answers.count(True) == 1
    winner = words[answers.index(True) % 4]
    assert (stages.again(child).status, stages.again(child).error) == (winner, winner)
    assert completions(child) == 1
    inbox = session_inbox.unadmitted(parent.project_id, parent.address)
    assert [message.body["status"] for message in inbox] == [winner]


def test_of_finish_cancel_requeue_and_suspend_one_wins() -> None:
    parent = stages.running()
    child = stages.running(parent=parent.pk)
    stages.queued(parent=child.pk)
    calls: list[Callable[[], Any]] = [
        lambda: lifecycle.finish(child.pk, 1, Status.COMPLETED),
        lambda: transitions.requeue(child.pk, 1, "connection lost"),
        lambda: lifecycle.suspend(child.pk, 1),
        lambda: lifecycle.give_up(child.pk, 1, "exited with status 1"),
    ]
    answers = race(*(calls * 8))
    wins = [answer for answer in answers if answer is True or isinstance(answer, Session)]
    assert len(wins) == 1
    row = stages.again(child)
    assert row.attempt == (2 if row.status == "queued" else 1)
    assert open_attempts(child) == (1 if row.status == "queued" else 0)
    assert completions(child) == (1 if row.is_terminal else 0)


def test_of_32_launches_one_starts_a_supervisor(monkeypatch: pytest.MonkeyPatch) -> None:
    started: list[str] = []
    monkeypatch.setattr(process, "start_supervisor", lambda told: started.append(told.token) or 4711)
    session = stages.queued()
    answers = race(*[lambda: launch.launch(session.pk, 1)] * THREADS)
    assert (answers.count(True), len(started)) == (1, 1)


def test_of_32_first_words_one_makes_it_run() -> None:
    session = stages.starting()
    assert race(*[lambda: lifecycle.started(session.pk, 1)] * THREADS) == [True] * THREADS
    assert Event.objects.filter(session=session.pk, type="session_running").count() == 1


def test_a_retry_is_spent_once() -> None:
    session = stages.running()
    Session.objects.filter(pk=session.pk).update(retries_left=1)
    race(*[lambda: lifecycle.fail(session.pk, 1, "connection lost")] * THREADS)
    row = stages.again(session)
    assert (row.status, row.attempt, row.retries_left, open_attempts(session)) == ("queued", 2, 0, 1)


def test_however_many_children_end_together_the_parent_resumes_once() -> None:
    parent = stages.running()
    children = [stages.running(parent=parent.pk) for _ in range(8)]
    lifecycle.suspend(parent.pk, 1)
    looks = [lambda: waits.resume_if_due(parent.pk)] * 8
    race(*[lambda pk=child.pk: lifecycle.finish(pk, 1, Status.COMPLETED) for child in children], *looks)
    row = stages.again(parent)
    assert (row.status, row.attempt, open_attempts(parent)) == ("queued", 2, 1)
    assert len(session_inbox.unadmitted(parent.project_id, parent.address)) == 8


@pytest.mark.parametrize("_", range(12))
def test_a_child_that_ends_while_its_parent_suspends_is_not_missed(_: int) -> None:
    parent = stages.running()
    child = stages.running(parent=parent.pk)
    race(lambda: lifecycle.suspend(parent.pk, 1), lambda: lifecycle.finish(child.pk, 1, Status.COMPLETED))
    assert (stages.again(parent).status, stages.again(parent).attempt) == ("queued", 2)


@pytest.mark.parametrize("_", range(8))
def test_a_message_that_comes_as_its_session_ends_is_read_by_somebody_or_starts_it(_: int) -> None:
    session = stages.running()
    message = NewMessage(message_kind="task", body={"text": "x"})
    outcome, ended = race(
        lambda: messages.send(stages.project(), session.pk, message, stages.ACTOR).outcome,
        lambda: lifecycle.finish(session.pk, 1, Status.COMPLETED),
    )
    assert ended
    assert stages.again(session).status == {"started": "queued", "queued": "completed"}[outcome]


def test_32_equal_messages_are_one_and_start_one_attempt() -> None:
    session = stages.ended()
    message = NewMessage(message_kind="task", body={"text": "x"}, id="m1")
    answers = race(*[lambda: messages.send(stages.project(), session.pk, message, stages.ACTOR).outcome] * THREADS)
    assert answers.count("started") == 1
    assert set(answers) == {"started", "queued"}
    assert (Message.objects.filter(message_id="m1").count(), open_attempts(session)) == (1, 1)


@pytest.mark.parametrize("_", range(6))
def test_no_child_slips_out_of_a_cancel(_: int) -> None:
    top = stages.running()
    middle = stages.running(parent=top.pk)
    spawns = [lambda: stages.queued(parent=middle.pk)] * 6
    race(*spawns, lambda: cancel.cancel(stages.project(), top.pk, "enough", stages.ACTOR))
    below = Session.objects.filter(parent=middle)
    assert not below.exclude(status="cancelled").exists()


def test_cancels_of_overlapping_trees_and_ends_do_not_deadlock() -> None:
    top = stages.running()
    middles = [stages.running(parent=top.pk) for _ in range(4)]
    leaves = [stages.running(parent=middle.pk) for middle in middles for _ in range(2)]
    everybody = [top, *middles, *leaves]
    cancels = [lambda pk=s.pk: cancel.cancel(stages.project(), pk, "enough", stages.ACTOR) for s in everybody]
    ends = [lambda pk=s.pk: lifecycle.finish(pk, 1, Status.CANCELLED) for s in everybody]
    answers = race(*cancels, *ends)
    assert not [answer for answer in answers if isinstance(answer, Problem)]
    assert all(stages.again(session).status == "cancelled" for session in everybody)
    assert sum(completions(session) for session in everybody) == len(everybody)


def test_two_watchdogs_at_once_tell_once(monkeypatch: pytest.MonkeyPatch) -> None:
    session = stages.running(metadata={"child_watchdog.max_total_secs": 1, "child_watchdog.check_interval_secs": 1})
    began = stages.attempt(session).running_at
    assert began is not None
    moment = began + timedelta(seconds=5)
    assert sum(race(*[lambda: call_at(moment, watchdog.sweep)] * 8)) == 1
    assert completions(session) == 1


def test_a_parent_never_has_more_than_64_children_that_are_not_over() -> None:
    parent = stages.running()
    for _ in range(60):
        stages.queued(parent=parent.pk)
    race(*[lambda: stages.queued(parent=parent.pk)] * 12)
    assert parent.children.count() == 64
