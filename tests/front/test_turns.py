"""Requests beyond what the machine bears wait for a turn, callers take turns, and beyond a bound it is a 503."""

from __future__ import annotations

import asyncio
from collections import Counter
from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest
from django.conf import settings

from accounts.problems import Problem
from config.front.turns import Turns
from tests.waiting import wait_until_async


async def test_callers_take_turns_and_not_requests(monkeypatch):
    monkeypatch.setattr("config.front.turns.most_at_once", lambda: 1)
    turns, served = Turns(), []

    async def call(caller):
        async with turns.turn(caller):
            served.append(caller)

    async with asyncio.TaskGroup() as group, turns.turn("first"):
        for caller in ["many"] * 5 + ["one"]:
            group.create_task(call(caller))
        await wait_until_async(lambda: turns._count == 6)
    assert served == ["many", "one", "many", "many", "many", "many"]
    assert (turns._running, turns._count) == (0, 0)


async def test_who_waits_too_long_or_behind_too_many_is_told_to_come_back(monkeypatch):
    monkeypatch.setattr("config.front.turns.most_at_once", lambda: 1)
    monkeypatch.setitem(settings.WARDROOM, "turn_secs", 0.1)
    monkeypatch.setitem(settings.WARDROOM, "waiting_requests", 0)
    turns = Turns()
    async with turns.turn("first"):
        with pytest.raises(Problem) as full:
            await turns._take("second")
        monkeypatch.setitem(settings.WARDROOM, "waiting_requests", 1)
        with pytest.raises(Problem) as late:
            await turns._take("second")
    for refused in (full, late):
        assert (refused.value.status, refused.value.headers["Retry-After"]) == (503, "1")
    assert (turns._running, turns._count) == (0, 0)


async def test_who_leaves_while_it_waits_takes_no_turn_along(monkeypatch):
    monkeypatch.setattr("config.front.turns.most_at_once", lambda: 1)
    turns = Turns()
    async with turns.turn("first"):
        gone = asyncio.create_task(turns._take("gone"))
        await wait_until_async(lambda: turns._count == 1)
        gone.cancel()
        await asyncio.gather(gone, return_exceptions=True)
    async with turns.turn("next"):
        assert turns._running == 1
    assert (turns._running, turns._count) == (0, 0)


@pytest.mark.stack
def test_five_hundred_calls_at_once_fit_the_usual_limit_of_files(stack):
    house = stack(worker=False, beat=False)
    house.stop("web1")
    house.services["web1"].command[:0] = ["prlimit", "--nofile=1024:1024"]
    house.start("web1")
    limits = httpx.Limits(max_connections=500)
    with house.client(limits=limits) as client, ThreadPoolExecutor(500) as crowd:
        statuses = Counter(crowd.map(lambda _: client.get("/api/v1/sessions", timeout=100).status_code, range(500)))
    assert set(statuses) <= {200, 503}
    assert statuses[200] >= 100
    assert "unable to open database file" not in house.logs("web1")
