"""Many processes claim at once, on a real database: never more than the bound, and never fewer."""

from __future__ import annotations

import multiprocessing
import os
from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
from django.db import connection, connections

from accounts.models import Project
from core.web.problems import Problem
from orchestration.models import Place, Session
from orchestration.places import held
from orchestration.runners import process
from orchestration.sessions import launch, spawn
from orchestration.sessions.spawn import SpawnOrder
from tests.orchestration import stages
from tests.orchestration.places.acts import claims

pytestmark = pytest.mark.django_db(transaction=True)
WORKERS = 20
FORK = multiprocessing.get_context("fork")


def race(calls: list[Callable[[], Any]]) -> list[Any]:
    """Run each call in a process of its own, all at once. Return their results."""
    connections.close_all()
    if connection.vendor == "postgresql":
        pooled: Any = connections["default"]
        pooled.close_pool()  # Its threads would be missing in the new processes.
    gate, pipes = FORK.Barrier(len(calls)), [FORK.Pipe(duplex=False) for _ in calls]

    def run(call: Callable[[], Any], answer: Any) -> None:
        try:
            gate.wait(60)
            answer.send(call())
        except BaseException as error:
            answer.send(f"{type(error).__name__}: {error}")
        finally:
            os._exit(0)

    workers = [
        FORK.Process(target=run, args=(call, pipe[1]), daemon=True) for call, pipe in zip(calls, pipes, strict=True)
    ]
    for worker in workers:
        worker.start()
    found = [pipe[0].recv() if pipe[0].poll(60) else "no answer" for pipe in pipes]
    for worker in workers:
        worker.kill()
        worker.join(60)
    return found


@pytest.fixture(autouse=True)
def _no_supervisor(monkeypatch: pytest.MonkeyPatch, settings: Any, tmp_path: Any) -> None:
    settings.DATA_FOLDER = tmp_path
    monkeypatch.setattr(process, "start_supervisor", lambda spec: 4711)


@pytest.mark.parametrize("most", [1, 7])
def test_of_20_workers_as_many_start_a_child_as_there_are_places(timings: Any, most: int) -> None:
    timings(processes_per_host=most, processes_per_core=most)
    sessions = [stages.queued() for _ in range(WORKERS)]
    bound = held.of_processes()
    answers = race([partial(claims, each, bound) for each in sessions])
    assert sorted(answers) == [False] * (WORKERS - most) + [True] * most
    assert Place.objects.count() == Session.objects.filter(status="starting").count() == most


def test_hosts_that_claim_at_once_keep_the_bound_of_a_project(timings: Any) -> None:
    timings(processes_per_project=3)
    sessions = [stages.queued() for _ in range(WORKERS)]
    bounds = [held.Bound("process", f"host-{number}", 10) for number in range(WORKERS)]
    answers = race([partial(claims, each, bound) for each, bound in zip(sessions, bounds, strict=True)])
    assert answers.count(True) == Place.objects.count() == 3


def test_20_tasks_start_each_child_once_and_in_order(timings: Any) -> None:
    timings(processes_per_host=8, processes_per_core=8)
    sessions = [stages.queued() for _ in range(12)]
    answers = race([launch.launch_next] * WORKERS)
    assert sorted(answers) == [False] * (WORKERS - 8) + [True] * 8
    assert set(Place.objects.values_list("pk", flat=True)) == {session.pk for session in sessions[:8]}


def test_20_spawns_at_once_keep_the_bound_of_the_queue(timings: Any) -> None:
    timings(queued_per_project=5)
    project = Project.objects.get(slug="default")

    def queue() -> str:
        try:
            return spawn.spawn(
                project, SpawnOrder(assignment="x", command=("sleep", "60")), stages.ACTOR
            ).session.status
        except Problem as refusal:
            return refusal.type

    assert sorted(race([queue] * WORKERS)) == ["queued"] * 5 + ["too-many"] * (WORKERS - 5)
