"""A web process's lease: renewed by a thread of its own, written again when it is gone, live while it is young."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Any

import pytest

from core.db.clock import clock_at, read_database_clock
from orchestration import presence
from orchestration.connections import fencing
from orchestration.lifespan import lifespan
from orchestration.models import Attempt, WebProcess
from tests.orchestration.connections.conftest import PATIENCE, Spawn, child, spawn  # noqa: F401 - fixtures
from tests.waiting import wait_until, wait_until_async


@pytest.fixture(autouse=True)
def lease(transactional_db: None, timings: Callable[..., None]) -> Iterator[None]:
    timings(heartbeat_secs=0.05)
    yield
    presence.end()


def live(**options: Any) -> bool:
    return Attempt.objects.filter(presence.is_live(**options)).exists()


def test_the_lease_is_renewed_again_and_again() -> None:
    process = presence.current()
    first = WebProcess.objects.get(pk=process).heartbeat_at
    wait_until(lambda: WebProcess.objects.get(pk=process).heartbeat_at > first)


def test_a_row_that_was_cleaned_away_is_written_again() -> None:
    process = presence.current()
    WebProcess.objects.all().delete()
    assert presence.current() == process
    assert WebProcess.objects.filter(pk=process).exists()


def test_a_renewal_that_fails_is_not_the_last(monkeypatch: pytest.MonkeyPatch) -> None:
    failed: list[int] = []

    def down(*args: Any, **kwargs: Any) -> None:
        failed.append(1)
        raise RuntimeError("no database")

    presence.current()
    with monkeypatch.context() as patch:
        patch.setattr(presence, "renew", down)
        wait_until(lambda: len(failed) > 2)
    WebProcess.objects.all().delete()
    wait_until(WebProcess.objects.exists)


def test_a_connection_is_live_while_its_process_is(child: Spawn) -> None:  # noqa: F811
    assert not live()
    mine = fencing.claim(fencing.authenticate(child.token, str(child.id)))
    assert live()
    now = read_database_clock()
    with clock_at(now + timedelta(seconds=15)):
        assert live()
    with clock_at(now + timedelta(seconds=25)):
        assert not live()
    fencing.disconnect(mine)
    assert not live()


async def test_the_lease_begins_and_ends_with_the_server() -> None:
    told: list[str] = []
    orders: asyncio.Queue[dict[str, Any]] = asyncio.Queue()

    async def send(message: Any) -> None:
        told.append(message["type"])

    serving = asyncio.create_task(lifespan({"type": "lifespan"}, orders.get, send))
    orders.put_nowait({"type": "lifespan.startup"})
    await wait_until_async(lambda: told == ["lifespan.startup.complete"])
    assert presence._lease is not None
    orders.put_nowait({"type": "lifespan.shutdown"})
    await asyncio.wait_for(serving, PATIENCE)
    assert presence._lease is None
    assert told[-1] == "lifespan.shutdown.complete"
