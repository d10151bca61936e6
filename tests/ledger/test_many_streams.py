"""Many streams: a bound for each reader, and one read and one formatting for all readers at the same place."""

from __future__ import annotations

import contextlib
from typing import Any

import httpx
import pytest

from accounts import projects
from ledger import ephemeral_events, feed, streams, unit_of_work
from ledger.streams import Reading
from tests.ledger.reading import events
from tests.orchestration.connections.conftest import Server, Spawn, _uvicorn, server, spawn  # noqa: F401 - fixtures
from tests.waiting import wait_until


def opened(server: Server, child: Spawn, stack: contextlib.ExitStack) -> httpx.Response:  # noqa: F811
    url = f"http://127.0.0.1:{server.port}/api/v1/sessions/{child.id}/events"
    headers = {"Authorization": f"Bearer {child.token}", "Host": "testserver", "Accept": "text/event-stream"}
    client = stack.enter_context(httpx.Client(timeout=20))
    return stack.enter_context(client.stream("GET", url, headers=headers))


def test_one_credential_opens_so_many_streams_and_one_that_closes_makes_room(
    server: Server,  # noqa: F811
    spawn: Any,  # noqa: F811
    timings: Any,
) -> None:
    timings(streams_per_credential=3)
    child, other = spawn(), spawn()
    with contextlib.ExitStack() as stack:
        for _ in range(2):
            assert opened(server, child, stack).status_code == 200
        with contextlib.ExitStack() as last:
            assert opened(server, child, last).status_code == 200
            refused = opened(server, child, stack)
            assert refused.status_code == 429
            assert int(refused.headers["Retry-After"]) > 0
            assert refused.headers["Content-Type"] == "application/problem+json"
            assert opened(server, other, stack).status_code == 200
        wait_until(lambda: sum(streams._open.values()) == 3)
        assert opened(server, child, stack).status_code == 200
    wait_until(lambda: not streams._open)


def test_streams_that_are_woken_together_share_one_read(
    server: Server,  # noqa: F811
    spawn: Any,  # noqa: F811
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    child, reads = spawn(), []
    beyond = feed.beyond

    def counted(*args: Any, **kwargs: Any) -> feed.Page:
        page = beyond(*args, **kwargs)
        if page.events:
            reads.append(len(page.events))
        return page

    with contextlib.ExitStack() as stack:
        told = [events(opened(server, child, stack)) for _ in range(12)]
        before = [{next(each).json["type"] for _ in range(3)} for each in told]
        assert before == [{"session_created", "session_starting", "attempt_ready"}] * 12
        monkeypatch.setattr(feed, "beyond", counted)
        with unit_of_work.transaction():
            for _ in range(50):
                unit_of_work.event(projects.default().pk, "news", session=child.id)
        for each in told:
            assert [next(each).json["type"] for _ in range(50)] == ["news"] * 50
    assert len(reads) < 12


@pytest.mark.django_db
def test_the_batches_of_one_turn_are_bounded_in_bytes(monkeypatch: pytest.MonkeyPatch) -> None:
    project = projects.default().pk
    for _ in range(3):
        with unit_of_work.transaction():
            unit_of_work.event(project, "large", {"text": "x" * 1000})
    monkeypatch.setattr(streams, "TURN_BYTES", 1500)
    batches = streams._make([Reading(project, after) for after in (0, 0, 1, 2)])
    assert batches[0] is batches[1]
    assert [len(batch.chunks) for batch in batches] == [1, 1, 0, 0]
    assert [(batch.cursor, batch.more) for batch in batches] == [(3, False), (3, False), (1, True), (2, True)]


async def test_what_passes_by_a_slow_watcher_is_bounded_in_bytes(child_id: Any) -> None:
    async with ephemeral_events.watch(child_id, lambda: None) as watcher:
        for _ in range(10):
            ephemeral_events.show(child_id, {"text": "x" * 300_000})
        assert len(watcher.take()) == 3
        ephemeral_events.show(child_id, {"text": "small"})
        assert watcher.take() == [b'{"text":"small"}']


@pytest.fixture
def child_id() -> Any:
    import uuid

    return uuid.uuid4()
