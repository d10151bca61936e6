"""The queue: parents that wait for queued children, its bound, and the positions in it."""

from __future__ import annotations

from typing import Any
from uuid import UUID

import pytest

from core.web.problems import Problem
from ledger.models import Event
from mailbox import session_inbox
from mailbox.envelope import NewMessage
from orchestration.models import Attempt, Place, Session
from orchestration.places import held, turns
from orchestration.sessions import launch, lifecycle, messages, transitions, waits
from tests.orchestration import stages
from tests.orchestration.places.acts import complete, exit_of, queued_in, start_all, statuses

pytestmark = pytest.mark.django_db


# --- parents that wait --------------------------------------------------------------------------------------


def test_parents_that_hold_every_place_and_wait_get_one_child_at_a_time(two: Any, started: list[UUID]) -> None:
    parents = [stages.queued() for _ in range(2)]
    start_all()
    for parent in parents:
        lifecycle.started(parent.pk, 1)
    first = stages.queued(parent=parents[0].pk)
    assert start_all() == 0, "the other parent may still end"
    second = stages.queued(parent=parents[1].pk)
    root = stages.queued()
    assert start_all() == 1
    assert statuses(first, second, root) == ["starting", "queued", "queued"]
    complete(first)
    assert start_all() == 0, "the first parent has nothing to wait for now"
    third = stages.queued(parent=parents[0].pk)
    assert start_all() == 1
    assert statuses(second, third) == ["starting", "queued"]


def test_parents_are_helped_inside_the_bound_of_a_project_too(timings: Any) -> None:
    timings(processes_per_project=1)
    parent = stages.queued()
    start_all()
    child = stages.queued(parent=parent.pk)
    assert start_all() == 1
    assert statuses(child) == ["starting"]


def test_without_places_above_the_bound_the_children_wait(timings: Any) -> None:
    timings(processes_per_host=1, processes_per_core=1, places_above_bound=0)
    parent = stages.queued()
    start_all()
    child = stages.queued(parent=parent.pk)
    assert start_all() == 0
    lifecycle.started(parent.pk, 1)
    lifecycle.suspend(parent.pk, 1)
    exit_of(parent)
    assert start_all() == 1
    assert statuses(child) == ["starting"]


def test_a_chain_of_waiting_parents_comes_to_its_end(timings: Any) -> None:
    timings(processes_per_host=1, processes_per_core=1)
    chain = [stages.queued()]
    start_all()
    for _ in range(4):
        chain.append(stages.queued(parent=chain[-1].pk))
        assert start_all() == 1
    assert Place.objects.count() == 5
    assert statuses(*chain) == ["starting"] * 5


# --- the bound of the queue ---------------------------------------------------------------------------------


def refused(call: Any) -> tuple[str, int, bool]:
    with pytest.raises(Problem) as raised:
        call()
    return raised.value.type, raised.value.status, "Retry-After" in raised.value.headers


def test_a_full_queue_refuses_callers_and_stores_nothing(timings: Any) -> None:
    ended = stages.ended()
    parent = stages.suspended()
    timings(queued_per_project=3)
    stages.queued(), stages.queued()
    before = (Session.objects.count(), Event.objects.count(), Attempt.objects.count())
    too_many = ("too-many", 429, True)
    project, message = stages.project(), NewMessage(message_kind="task", body="do")
    assert refused(stages.queued) == too_many
    assert refused(lambda: lifecycle.retry(project, ended.pk, stages.ACTOR)) == too_many
    assert refused(lambda: messages.send(project, ended.pk, message, stages.ACTOR)) == too_many
    assert refused(lambda: messages.send(project, parent.pk, message, stages.ACTOR, interrupt=True)) == too_many
    assert (Session.objects.count(), Event.objects.count(), Attempt.objects.count()) == before
    assert not session_inbox.unadmitted(project.pk, ended.address)
    assert stages.queued(runner="external", command=None).status == "starting"
    assert queued_in("other").status == "queued", "another project is not refused"


def test_a_full_queue_refuses_no_resume_and_no_retry_by_policy(timings: Any) -> None:
    parent = stages.running()
    child = stages.queued(parent=parent.pk)
    assert lifecycle.suspend(parent.pk, 1)
    failing = stages.running()
    Session.objects.filter(pk=failing.pk).update(retries_left=1)
    timings(queued_per_project=1)
    assert lifecycle.fail(failing.pk, 1, "connection lost")
    transitions.move(child.pk, 1, "starting")
    assert lifecycle.finish(child.pk, 1, "error")
    waits.resume_if_due(parent.pk)
    assert statuses(failing, parent) == ["queued", "queued"]


# --- positions -----------------------------------------------------------------------------------------------


def test_the_position_is_that_in_the_project() -> None:
    queued_in("other")
    sessions = [stages.queued() for _ in range(3)]
    rows = {row.pk: row for row in turns.with_position(Session.objects.all())}
    texts = [turns.position_text(rows[session.pk]) for session in sessions]
    assert texts == [f"waits for a place ({nth} of 3 in its project)" for nth in ("1st", "2nd", "3rd")]
    launch.launch_next()
    gone = turns.with_position(Session.objects.filter(status="starting")).get()
    assert turns.position_text(gone) == ""


@pytest.mark.parametrize(("nth", "text"), [(4, "4th"), (11, "11th"), (12, "12th"), (21, "21st"), (113, "113th")])
def test_ordinals(nth: int, text: str) -> None:
    assert turns.position_text(Session(assignment="")) == ""
    session: Any = Session(assignment="")
    session.nth, session.of = nth, 200
    assert f"({text} of 200" in turns.position_text(session)


def test_a_session_that_is_queued_again_goes_to_the_end() -> None:
    first = stages.queued()
    second = stages.queued()
    launch.launch_next()
    lifecycle.started(first.pk, 1)
    exit_of(first)
    lifecycle.retry(stages.project(), first.pk, stages.ACTOR)
    assert [pk for pk, _ in turns.in_turn(held.of_processes(), 5)] == [second.pk, first.pk]
