"""The hub, over a real Redis: wake-ups arrive, and losing them costs only the poll interval."""

from __future__ import annotations

import asyncio
import time
from typing import Any

import pytest

from accounts import projects
from core.concurrency.threadpool import run_in_threadpool
from ledger import hub, unit_of_work, wakeups
from tests.servers import Valkey
from tests.waiting import stay, wait_until_async

pytestmark = pytest.mark.django_db(transaction=True)


async def listening(subscription: hub.Subscription) -> None:
    """Wait until the hub has subscribed: it then wakes everybody once."""
    assert await subscription.wait(10)
    assert not subscription.heard_only("session:a")


async def test_a_wake_up_reaches_only_those_who_listen_to_its_topic() -> None:
    async with hub.get().listen("session:a") as mine, hub.get().listen("session:b") as other:
        await listening(mine)
        await listening(other)
        assert await run_in_threadpool(wakeups.publish, ["session:a"])
        assert await mine.wait(5)
        assert mine.heard_only("session:a")
        assert not await other.wait(0.05)


async def test_a_listener_knows_when_it_was_woken_for_one_topic_alone() -> None:
    async with hub.get().listen("session:a", "session:b") as subscription:
        await listening(subscription)
        assert not subscription.heard_only("session:a")
        hub.get().deliver(["session:a", "session:a"])
        assert subscription.heard_only("session:a") and not subscription.heard_only("session:a")
        hub.get().deliver(["session:a", "session:b"])
        assert not subscription.heard_only("session:a")
        hub.get().deliver(["session:a"])
        hub.get().wake_all()
        assert not subscription.heard_only("session:a")


async def test_wake_ups_before_the_wait_are_kept_as_one() -> None:
    async with hub.get().listen("session:a") as subscription:
        await listening(subscription)
        hub.get().deliver(["session:a"])
        hub.get().deliver(["session:a"])
        assert await subscription.wait(0)
        assert not await subscription.wait(0.05)


async def test_nobody_is_woken_by_a_transaction_that_does_not_commit() -> None:
    project = await run_in_threadpool(projects.default)

    def write(fail: bool) -> None:
        with unit_of_work.transaction():
            unit_of_work.event(project.pk, "x")
            unit_of_work.wake("session:a")
            if fail:
                raise ValueError

    async with hub.get().listen("session:a", f"feed:{project.pk}") as subscription:
        await listening(subscription)
        with pytest.raises(ValueError):
            await run_in_threadpool(write, True)
        assert not await subscription.wait(0.1)
        await run_in_threadpool(write, False)
        assert await subscription.wait(5)


async def test_who_wakes_notices_that_redis_hung_up_and_says_it_on_a_new_connection() -> None:
    async with hub.get().listen("session:a") as subscription:
        await listening(subscription)
        assert await run_in_threadpool(wakeups.publish, ["session:b"])
        await run_in_threadpool(_hang_up_on_publishers)
        assert await run_in_threadpool(wakeups.publish, ["session:a"])
        assert await subscription.wait(2) and subscription.heard_only("session:a")


async def test_a_listener_that_left_is_forgotten() -> None:
    async with hub.get().listen("session:a"):
        pass
    assert "session:a" not in hub.get()._subscriptions


def test_a_wake_up_to_a_server_that_is_gone_fails_fast_and_is_no_error(settings: Any) -> None:
    settings.REDIS_URL = "redis://127.0.0.1:1/0"
    wakeups._client.cache_clear()
    wakeups._silent_until = 0.0
    try:
        began = time.monotonic()
        assert wakeups.publish(["session:a"]) is False
        assert wakeups.publish(["session:a"]) is False
        assert time.monotonic() - began < 3
    finally:
        wakeups._client.cache_clear()
        wakeups._silent_until, wakeups._is_away = 0.0, False


async def test_a_lost_redis_is_one_line_in_the_log_and_its_return_another(
    settings: Any, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    def lines() -> list[str]:
        return [record.getMessage() for record in caplog.records if record.name in ("ledger.hub", "ledger.wakeups")]

    monkeypatch.setattr(hub, "RECONNECT_SECS", 0.01)
    monkeypatch.setattr(wakeups, "BRAKE_SECS", 0.0)
    monkeypatch.setattr(wakeups, "_is_away", False)
    server = Valkey()
    await run_in_threadpool(server.start)
    settings.REDIS_URL = server.url()
    wakeups._client.cache_clear()
    mine = hub.Hub()
    try:
        async with mine.listen("session:a") as subscription:
            await listening(subscription)
            assert await run_in_threadpool(wakeups.publish, ["session:a"])
            await run_in_threadpool(server.kill)
            assert not any([await run_in_threadpool(wakeups.publish, ["session:a"]) for _ in range(3)])
            await wait_until_async(lambda: len(lines()) == 2)
            await stay(0.5)
            lost = sorted(line.partition(" (")[0] for line in lines())
            assert lost == ["the hub lost Redis", "wake-ups are not sent"]
            await run_in_threadpool(server.start)
            async with asyncio.timeout(30):
                while not await run_in_threadpool(wakeups.publish, ["session:a"]):
                    await stay(0.02)
            await wait_until_async(lambda: len(lines()) == 4)
            assert sorted(lines()[2:]) == ["the hub has Redis again", "wake-ups are sent again"]
            assert mine._task is not None
            mine._task.cancel()
    finally:
        await run_in_threadpool(server.stop)
        wakeups._client.cache_clear()


async def test_a_listener_wakes_again_after_the_hub_lost_redis() -> None:
    async with hub.get().listen("session:a") as subscription:
        await listening(subscription)
        await run_in_threadpool(_drop_subscribers)
        assert await subscription.wait(10), "a reconnect wakes everybody, since wake-ups may have been lost meanwhile"
        async with asyncio.timeout(10):
            while not await subscription.wait(0.2):
                await run_in_threadpool(wakeups.publish, ["session:a"])


def _drop_subscribers() -> None:
    import os

    wakeups._client(os.getpid()).execute_command("CLIENT", "KILL", "TYPE", "pubsub")


def _hang_up_on_publishers() -> None:
    import os

    wakeups._client(os.getpid()).execute_command("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")
