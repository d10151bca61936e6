"""Places: the bounds of a host and a project, the turns of projects, and the end of a place."""

from __future__ import annotations

import os
from typing import Any
from uuid import UUID

import pytest

from accounts.models import Project
from core.db.clock import clock_at
from orchestration import tasks
from orchestration.models import HostBound, Place, Session
from orchestration.places import held, turns
from orchestration.runners import process
from orchestration.sessions import dispatch, launch, lifecycle
from server import clean_stop
from tests.orchestration import stages
from tests.orchestration.places.acts import claims, complete, exit_of, later, queued_in, start_all, statuses

pytestmark = pytest.mark.django_db


def test_the_one_beyond_the_bound_waits_and_starts_when_one_ends(two: Any, started: list[UUID]) -> None:
    sessions = [stages.queued() for _ in range(4)]
    assert start_all() == 2
    assert statuses(*sessions) == ["starting", "starting", "queued", "queued"]
    assert not launch.launch(sessions[3].pk, 1), "not past the bound by name either"
    complete(sessions[0])
    assert start_all() == 1
    assert started == [session.pk for session in sessions[:3]]


def test_a_smaller_bound_holds(timings: Any) -> None:
    timings(processes_per_core=1, processes_per_host=10_000)
    assert held.of_processes().most == len(os.sched_getaffinity(0))
    timings(processes_per_core=10_000, processes_per_host=3)
    assert held.of_processes().most == 3
    stages.queued()
    assert launch.launch_next()
    assert HostBound.objects.get().most == 3


def test_an_ended_attempt_holds_its_place_until_its_process_is_gone(two: Any) -> None:
    first, second, third = (stages.queued() for _ in range(3))
    assert start_all() == 2
    lifecycle.started(first.pk, 1)
    lifecycle.finish(first.pk, 1, "completed")
    assert start_all() == 0
    exit_of(first)
    assert start_all() == 1
    assert statuses(second, third) == ["starting", "starting"]


def test_the_end_of_a_process_wakes_one(
    two: Any, published: list[str], django_capture_on_commit_callbacks: Any
) -> None:
    first, _, _ = (stages.queued() for _ in range(3))
    start_all()
    with django_capture_on_commit_callbacks(execute=True):
        exit_of(first)
        exit_of(first)
    assert published == [dispatch.NEXT_TASK]


def test_the_end_of_a_process_wakes_nobody_for_an_empty_queue(
    two: Any, published: list[str], django_capture_on_commit_callbacks: Any
) -> None:
    first = stages.queued()
    start_all()
    with django_capture_on_commit_callbacks(execute=True):
        exit_of(first)
    assert published == []


def test_a_task_starts_one_and_the_one_whose_turn_it_is(two: Any, started: list[UUID]) -> None:
    first, second, third = (stages.queued() for _ in range(3))
    tasks.launch_session(str(third.pk), 1)
    assert started == [first.pk]
    tasks.launch_next()
    assert started == [first.pk, second.pk]


def test_the_sweep_starts_what_a_lost_wake_up_left(two: Any, started: list[UUID]) -> None:
    sessions = [stages.queued() for _ in range(3)]
    start_all()
    complete(sessions[0])
    with clock_at(later(6)):
        assert launch.sweep() == 1
        assert launch.sweep() == 0
    assert started == [session.pk for session in sessions]


def test_projects_take_turns(two: Any, started: list[UUID]) -> None:
    many = [queued_in("default") for _ in range(6)]
    assert start_all() == 2
    lone = queued_in("other")
    complete(many[0])
    assert start_all() == 1
    assert started[-1] == lone.pk, "the next free place is of the other project"
    complete(lone)
    also = queued_in("other")
    complete(many[1])
    assert start_all() == 2
    assert started[-2:] == [many[2].pk, also.pk]


def test_the_sweep_takes_turns_too(timings: Any, started: list[UUID]) -> None:
    timings(processes_per_host=4, processes_per_core=4)
    many = [queued_in("default") for _ in range(6)]
    others = [queued_in("other") for _ in range(2)]
    with clock_at(later(6)):
        assert launch.sweep() == 4
    assert started == [many[0].pk, others[0].pk, many[1].pk, others[1].pk]


def test_a_project_has_a_bound_of_its_own(timings: Any) -> None:
    timings(processes_per_host=8, processes_per_core=8, processes_per_project=2)
    for slug, most in (("default", None), ("wide", 3), ("closed", 0)):
        Project.objects.update_or_create(slug=slug, defaults={"max_processes": most})
        for _ in range(4):
            queued_in(slug)
    assert start_all() == 5
    names = sorted(Place.objects.values_list("project__slug", flat=True))
    assert names == ["default"] * 2 + ["wide"] * 3
    project = Project.objects.get(slug="closed")
    assert not launch.launch(Session.objects.filter(project=project)[0].pk, 1)


def test_a_launch_that_raises_frees_its_place_and_the_next_one_starts(
    monkeypatch: pytest.MonkeyPatch, timings: Any, started: list[UUID]
) -> None:
    timings(processes_per_host=1, processes_per_core=1)
    bad, good = stages.queued(), stages.queued()
    note = process.start_supervisor

    def start(spec: process.LaunchSpec) -> int:
        if spec.session == str(bad.pk):
            raise RuntimeError("no room")
        return note(spec)

    monkeypatch.setattr(process, "start_supervisor", start)
    assert launch.launch_next()
    assert statuses(bad, good) == ["error", "starting"]
    assert Place.objects.get().session_id == good.pk


def test_a_claim_that_raises_does_not_stop_the_next_one(monkeypatch: pytest.MonkeyPatch, started: list[UUID]) -> None:
    bad, good = stages.queued(), stages.queued()
    launch_it = launch.launch

    def launched(session_id: UUID, attempt: int) -> bool:
        if session_id == bad.pk:
            raise ValueError("odd row")
        return launch_it(session_id, attempt)

    monkeypatch.setattr(launch, "launch", launched)
    assert launch.launch_next()
    assert started == [good.pk]


def test_a_relaunch_and_a_retry_keep_the_one_place(timings: Any, started: list[UUID]) -> None:
    timings(processes_per_host=1, processes_per_core=1)
    session, other = stages.queued(), stages.queued()
    assert launch.launch_next()
    with clock_at(later(61)):
        assert launch.give_up_waiting(session.pk, 1)
        assert launch.launch_next()
    assert started == [session.pk, session.pk]
    assert statuses(session, other) == ["starting", "queued"]
    assert Place.objects.get().attempt == 2
    exit_of(session, 1)
    assert Place.objects.count() == 1, "the end of the old process frees nothing"


def test_a_host_that_died_holds_no_place_for_ever(timings: Any) -> None:
    timings(processes_per_host=1, processes_per_core=1)
    lost, other = stages.queued(), stages.queued()
    assert launch.launch_next()
    lifecycle.started(lost.pk, 1)
    lifecycle.finish(lost.pk, 1, "error", error="connection lost", kill_in=0)
    assert not launch.launch_next()
    with clock_at(later(39)):
        assert launch.sweep() == 0
    with clock_at(later(41)):
        assert launch.sweep() == 1
    assert statuses(other) == ["starting"]


def test_an_open_attempt_keeps_its_place(timings: Any) -> None:
    stages.queued()
    assert launch.launch_next()
    assert held.free_overdue(later(10_000)) == 0


def test_a_clean_stop_frees_the_places(timings: Any) -> None:
    session = stages.queued()
    assert launch.launch_next()
    assert clean_stop.settle([(session.pk, 1)]) == 1
    assert not Place.objects.exists()


def test_hosts_have_bounds_of_their_own(timings: Any) -> None:
    sessions = [stages.queued() for _ in range(4)]
    here, there = held.Bound("process", "here", 1), held.Bound("process", "there", 1)
    assert [claims(session, here) for session in sessions[:2]] == [True, False]
    assert claims(sessions[1], there)
    assert turns.in_turn(here, 5) == turns.in_turn(there, 5) == []
    assert not claims(sessions[2], there)


def test_runners_have_bounds_of_their_own() -> None:
    assert claims(stages.queued(), held.Bound("process", "here", 1))
    assert claims(stages.queued(), held.Bound("acme", "here", 1))
