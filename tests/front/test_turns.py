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
from tests.front.wire import length, wire
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


@pytest.mark.django_db(transaction=True)
def test_a_turn_is_given_back_before_the_rest_of_a_body_is_thrown_away(monkeypatch, web_server):
    monkeypatch.setattr("config.front.turns.most_at_once", lambda: 1)
    monkeypatch.setattr("config.front.exchange.LINGER_SECS", 20.0)
    monkeypatch.setitem(settings.WARDROOM, "turn_secs", 1)
    with wire(web_server.port) as sends, wire(web_server.port) as next_one:
        sends.head("GET", "/", length(1000))
        assert sends.answer().status == 302
        next_one.head("GET", "/admin/login/")
        assert next_one.answer().status == 200
        sends.socket.sendall(b"x" * 1000)  # It was still waited for.
        assert sends.is_closed()


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("size", [0, 1000])
@pytest.mark.parametrize("path", ["/nix", "/nix/", "/admins", "/healthz/"])
def test_an_address_that_nobody_knows_takes_no_turn(monkeypatch, line, path, size):
    monkeypatch.setattr("config.front.turns.most_at_once", lambda: 0)
    monkeypatch.setitem(settings.WARDROOM, "waiting_requests", 0)
    line.head("POST", path, length(size))
    assert line.answer().problem == (404, "not-found")


@pytest.mark.django_db(transaction=True)
def test_a_browser_gets_a_page_where_nothing_is(line):
    line.head("GET", "/nix", "Accept: text/html")
    answer = line.answer()
    assert (answer.status, answer.headers["content-type"]) == (404, "text/html; charset=utf-8")


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize(("path", "status"), [("/", 302), ("/admin", 301), ("/static/x.css", 404), ("/api/x", 401)])
def test_addresses_of_django_are_still_its_own(line, path, status):
    line.head("GET", path)
    assert line.answer().status == status


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
