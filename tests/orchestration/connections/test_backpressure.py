"""A child is slowed before it slows others, and few large frames are decoded at a time."""

from __future__ import annotations

import asyncio
import contextlib
import json
import time
from threading import Event
from typing import Any
from uuid import uuid4

import pytest

from orchestration.connections import backpressure, transport
from orchestration.connections.backpressure import Budget
from orchestration.connections.transport import CloseConnection, Inbox
from tests.orchestration.connections.conftest import Server, Spawn
from tests.waiting import all_have_begun, wait_until, wait_until_async


class Work:
    """An operation that waits until it is let go, and knows how many of it ran at once."""

    def __init__(self) -> None:
        self.running = self.most = self.done = 0
        self.go = Event()

    def __call__(self) -> None:
        self.running += 1
        self.most = max(self.most, self.running)
        assert self.go.wait(10)
        self.running -= 1
        self.done += 1


async def test_connections_within_their_budgets_work_at_the_same_time() -> None:
    work = Work()
    tasks = [asyncio.create_task(Budget().run(work)) for _ in range(3)]
    await wait_until_async(lambda: work.running == 3)
    work.go.set()
    await asyncio.gather(*tasks)


async def test_connections_beyond_their_budgets_take_turns() -> None:
    work = Work()
    budgets = [Budget() for _ in range(3)]
    for budget in budgets:
        budget.spend(0, events=100_000)
    tasks = [asyncio.create_task(budget.run(work)) for budget in budgets]
    await wait_until_async(lambda: work.running)
    await all_have_begun()
    assert work.running == 1
    work.go.set()
    await asyncio.gather(*tasks)
    assert (work.most, work.done) == (1, 3)


async def test_a_connection_within_its_budget_waits_for_none_beyond(monkeypatch: pytest.MonkeyPatch) -> None:
    slow, quick = Work(), Work()
    quick.go.set()
    flooding = Budget()
    flooding.spend(0, events=100_000)
    task = asyncio.create_task(flooding.run(slow))
    await wait_until_async(lambda: slow.running)
    await Budget().run(quick)
    assert (slow.running, quick.done) == (1, 1)
    slow.go.set()
    await task


async def test_a_budget_comes_back_with_time(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 1000.0
    monkeypatch.setattr(time, "monotonic", lambda: now)
    budget = Budget()
    budget.spend(0, events=10**9)
    assert not budget.is_free
    now += 2 * backpressure.SAVED_UNITS / backpressure.UNITS_PER_SEC
    budget.spend(0)
    assert budget.is_free


def test_a_frame_of_1_mib_uses_up_what_a_connection_has_saved() -> None:
    """Sixteen connections that send one more of them at once would keep everybody waiting for seconds."""
    budget = Budget()
    budget.spend(64 * 1024)
    assert budget.is_free
    budget.spend(1024 * 1024)
    assert not budget.is_free


async def test_few_large_frames_are_in_memory_at_a_time_and_small_ones_wait_for_none() -> None:
    held, go = [0], asyncio.Event()

    async def hold(text: str) -> None:
        async with Budget().room_for(text):
            held[0] += 1
            await go.wait()

    tasks = [asyncio.create_task(hold("x" * 100_000)) for _ in range(3 * backpressure.LARGE_AT_ONCE)]
    await all_have_begun()
    assert held == [backpressure.LARGE_AT_ONCE]
    async with Budget().room_for("x" * 1000):
        pass
    go.set()
    await asyncio.gather(*tasks)


async def test_large_frames_beyond_their_budgets_leave_room_for_one_within() -> None:
    slow, quick = Work(), Work()
    quick.go.set()

    async def take(budget: Budget, work: Work) -> None:
        async with budget.room_for("x" * 100_000):
            budget.spend(0, events=64)
            await budget.run(work)

    flooding = [Budget() for _ in range(3 * backpressure.LARGE_AT_ONCE)]
    for budget in flooding:
        budget.spend(0, events=100_000)
    tasks = [asyncio.create_task(take(budget, slow)) for budget in flooding]
    await wait_until_async(lambda: slow.running)
    await asyncio.wait_for(take(Budget(), quick), 5)
    assert (slow.running, quick.done) == (1, 1)
    slow.go.set()
    await asyncio.gather(*tasks)
    assert (slow.most, slow.done) == (1, len(flooding))


async def test_a_large_frame_that_uses_up_its_budget_keeps_no_room_for_the_lane() -> None:
    slow, quick = Work(), Work()
    quick.go.set()
    flooding = Budget()
    flooding.spend(0, events=100_000)
    lane = asyncio.create_task(flooding.run(slow))
    await wait_until_async(lambda: slow.running)
    budget = Budget()
    async with budget.room_for("x" * 100_000):
        budget.spend(0, events=100_000)
        await asyncio.wait_for(budget.run(quick), 5)
    slow.go.set()
    await lane
    assert not budget.is_free


@pytest.mark.parametrize("text", ["x" * 300_000, "x" * 75_000 + "\U0001f600"])
async def test_an_inbox_is_bounded_by_the_memory_of_its_texts(text: str) -> None:
    inbox = Inbox()
    for _ in range(transport.INBOX_BYTES // 300_000):
        await asyncio.wait_for(inbox.put(text), 5)
    waiting = asyncio.create_task(inbox.put(text))
    await all_have_begun()
    assert not waiting.done()
    assert await inbox.take() == text
    await asyncio.wait_for(waiting, 5)


async def test_an_inbox_takes_one_text_that_is_larger_than_itself_and_always_its_end() -> None:
    inbox = Inbox()
    await asyncio.wait_for(inbox.put("x" * (2 * transport.INBOX_BYTES)), 5)
    await asyncio.wait_for(inbox.put(CloseConnection(1000)), 5)
    assert len(await inbox.take()) == 2 * transport.INBOX_BYTES
    with pytest.raises(CloseConnection):
        await inbox.take()


def test_events_that_came_together_are_committed_in_small_parts(
    server: Server, child: Spawn, monkeypatch: pytest.MonkeyPatch
) -> None:
    from orchestration.connections import events as connection_events

    commits: list[int] = []
    accept = connection_events.accept

    def counted(connection: Any, events: Any) -> int:
        commits.append(len(events))
        return accept(connection, events)

    monkeypatch.setattr(connection_events, "accept", counted)
    with server.child(child) as peer:
        for first in range(1, 64 * 40, 64):
            events = [{"type": "note", "n": seq} for seq in range(first, first + 64)]
            peer.say("event_batch", first_seq=first, last_seq=first + 63, qos="durable", events=events)
        acked = 0
        while acked < 64 * 40:
            acked = json.loads(peer.socket.recv(timeout=30))["seq"]
    assert sum(commits) == 64 * 40
    assert max(commits) <= 256 + 64


def test_children_that_flood_with_large_frames_keep_none_of_another_child_waiting(
    server: Server, spawn: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    from orchestration.connections import events as connection_events

    flooding, other = [spawn() for _ in range(2 * backpressure.LARGE_AT_ONCE)], spawn()
    stuck, go = Work(), Event()
    stuck.go, accept = go, connection_events.accept

    def hangs(connection: Any, events: Any) -> int:
        if connection.session_id != other.id:
            stuck()
        return accept(connection, events)

    counted: list[int] = []
    spend = Budget.spend

    def counts(budget: Budget, characters: int, events: int = 0) -> None:
        spend(budget, characters, events)
        counted.extend([characters] * (characters > 100_000))

    monkeypatch.setattr(connection_events, "accept", hangs)
    monkeypatch.setattr(Budget, "spend", counts)
    with contextlib.ExitStack() as stack:
        stack.callback(go.set)
        monkeypatch.setattr(backpressure, "SAVED_UNITS", 3)
        for child in flooding:
            peer = stack.enter_context(server.child(child))
            peer.say("event", seq=1, event={"type": "note", "text": "x" * 100_000})
        # Each frame is counted before it waits; only one of them may be at work, and the others wait in the lane.
        wait_until(lambda: stuck.running == 1 and len(counted) == len(flooding))
        monkeypatch.setattr(backpressure, "SAVED_UNITS", 200)
        with server.child(other) as peer:
            peer.say("event", seq=1, event={"type": "note", "text": "x" * 100_000})
            peer.hear("event_ack")
        assert (stuck.running, stuck.done) == (1, 0)


def test_a_session_has_so_many_sockets_and_one_that_leaves_makes_room(
    server: Server, spawn: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(backpressure, "SOCKETS_PER_SESSION", 2)
    child, other = spawn(), spawn()
    with server.child(child) as peer, server.knock(child):
        wait_until(lambda: backpressure._sockets[child.id] == 2)
        with server.knock(child) as refused:
            code, reason = refused.end()
            assert (code, reason.split()[2].isdigit()) == (4429, True)
        with server.child(other):
            pass
        peer.say("event", seq=1, event={"type": "note"})
        peer.hear("event_ack")
    wait_until(lambda: child.id not in backpressure._sockets)
    with server.child(child, run=False):
        pass


def test_a_session_that_connects_all_the_time_is_told_to_wait(
    server: Server, child: Spawn, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(backpressure, "CONNECTIONS_SAVED", 2)
    monkeypatch.setattr(backpressure, "CONNECTIONS_PER_SEC", 0.001)
    for _ in range(2):
        with server.child(child, run=False):
            pass
    with server.knock(child) as peer:
        peer.say("hello", attempt=1)
        assert peer.code() == 4429
    assert child.attempt().connection == 2


def test_what_is_remembered_of_connections_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(backpressure, "REMEMBERED_SESSIONS", 5)
    now = 1000.0
    monkeypatch.setattr(time, "monotonic", lambda: now)
    monkeypatch.setattr(backpressure, "_connections", {})
    for _ in range(20):
        now += 100
        backpressure.count_connection(uuid4())
    assert len(backpressure._connections) <= 5
