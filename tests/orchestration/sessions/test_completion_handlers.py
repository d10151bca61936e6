"""Completion handlers: called for each end, again after a failure, and never in the way of anybody."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import timedelta
from importlib import metadata as packages
from typing import Any

import pytest

from core.db.clock import clock_at
from ledger.models import Event, OutboxEntry
from orchestration.models import Session
from orchestration.sessions import completion_handlers, dispatch, lifecycle, transitions, waits
from orchestration.states import Status
from tests.orchestration import stages

pytestmark = pytest.mark.django_db(transaction=True)

CALLS: list[tuple[str, dict[str, Any]]] = []


def good(completion: dict[str, Any]) -> None:
    CALLS.append(("good", completion))


def bad(completion: dict[str, Any]) -> None:
    CALLS.append(("bad", completion))
    raise OSError("the other side is away")


def exits(completion: dict[str, Any]) -> None:
    raise SystemExit(3)


@pytest.fixture(autouse=True)
def installed(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., None]]:
    def install(*names: str) -> None:
        points = [packages.EntryPoint(name, f"{__name__}:{name}", completion_handlers.GROUP) for name in names]
        monkeypatch.setattr(packages, "entry_points", lambda group: points)
        completion_handlers.installed.cache_clear()

    CALLS.clear()
    yield install
    monkeypatch.undo()
    completion_handlers.installed.cache_clear()


def rows() -> Any:
    return OutboxEntry.objects.filter(kind=completion_handlers.KIND).order_by("pk")


def work() -> None:
    for entry in rows():
        completion_handlers.call(entry.key)


def family() -> tuple[Session, Session]:
    parent = stages.running()
    return parent, stages.running(parent=parent.pk)


def test_a_handler_is_called_once_for_each_end(installed: Any) -> None:
    installed("good")
    parent, child = family()
    lifecycle.finish(child.pk, 1, Status.COMPLETED, result="three")
    work()
    work()
    ((_, told),) = CALLS
    assert told.pop("completed_at")
    assert told == {
        "parent": str(parent.pk),
        "child": str(child.pk),
        "attempt": 1,
        "status": "completed",
        "error": None,
        "result": "three",
    }
    assert rows().get().sent_at


def test_a_suspended_or_retried_attempt_is_no_end(installed: Any) -> None:
    installed("good")
    _, child = family()
    transitions.requeue(child.pk, 1, "connection lost")
    stages.suspended()
    assert not rows().exists()


def test_a_handler_that_raises_is_called_again_and_stops_nobody(installed: Any) -> None:
    installed("bad", "good")
    parent, child = family()
    lifecycle.suspend(parent.pk, 1)
    lifecycle.finish(child.pk, 1, Status.COMPLETED)
    work()
    assert sorted(name for name, _ in CALLS) == ["bad", "good"]
    waits.resume_if_due(parent.pk)
    assert stages.again(parent).status == "queued"
    failed = rows().get(sent_at=None)
    assert (failed.tries, failed.last_error) == (1, "OSError: the other side is away")
    work()
    assert len(CALLS) == 2, "not before its pause is over"
    with clock_at(failed.due_at + timedelta(seconds=1)):
        work()
    again = rows().get(sent_at=None)
    assert (len(CALLS), again.tries) == (3, 2)
    assert again.due_at - failed.due_at > timedelta(seconds=9)


def test_a_handler_that_exits_has_failed(installed: Any) -> None:
    installed("exits")
    _, child = family()
    lifecycle.finish(child.pk, 1, Status.COMPLETED)
    work()
    assert (rows().get().tries, rows().get().last_error) == (1, "SystemExit: 3")


def test_a_handler_with_a_long_name_is_called_for_each_end(installed: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    point = packages.EntryPoint("x" * 300, f"{__name__}:good", completion_handlers.GROUP)
    monkeypatch.setattr(completion_handlers, "installed", lambda: {point.name: point})
    for _ in range(2):
        lifecycle.finish(family()[1].pk, 1, Status.COMPLETED)
    work()
    assert len(CALLS) == 2


def test_a_handler_that_is_no_longer_installed_is_named(installed: Any) -> None:
    installed("good")
    _, child = family()
    lifecycle.finish(child.pk, 1, Status.COMPLETED)
    installed()
    work()
    assert "no installed package" in rows().get(sent_at=None).last_error


def test_the_row_of_a_call_that_lost_its_worker_is_found_by_the_sweep(
    installed: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    installed("good")
    _, child = family()
    lifecycle.finish(child.pk, 1, Status.COMPLETED)
    entry = rows().get()
    published: list[tuple[Any, ...]] = []
    monkeypatch.setattr(dispatch, "publish", lambda *task: published.append(task) or "")
    OutboxEntry.objects.filter(pk=entry.pk).update(due_at=entry.due_at + timedelta(seconds=150))
    assert completion_handlers.sweep() == 0
    with clock_at(entry.due_at + timedelta(seconds=156)):
        assert completion_handlers.sweep() == 1
        assert published == [(completion_handlers.TASK, entry.key)]
        assert completion_handlers.sweep() == 0, "the task that was sent may still be taken"
        assert completion_handlers.call(entry.key)
    assert len(CALLS) == 1


def test_the_first_start_of_a_child_stands_on_both_streams_once() -> None:
    parent, child = family()
    transitions.requeue(child.pk, 1, "connection lost")
    transitions.move(child.pk, 2, Status.STARTING)
    lifecycle.started(child.pk, 2)
    told = Event.objects.filter(type="sub_agent_started")
    assert sorted(told.values_list("session", flat=True)) == sorted([parent.pk, child.pk])
    assert {event.payload["child_session_id"] for event in told} == {str(child.pk)}
