"""Requests beyond the bound wait for a turn, callers take turns, and beyond a second bound it is a 503."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import pytest
from django.test import Client

from core.web.problems import Problem
from server.front.turns import Turns
from tests.mailbox.faces import Caller, Server
from tests.server.front.wire import JSON, Wire, length, wire
from tests.servers.stack import House
from tests.waiting import wait_until_async

NOBODYS = "00000000-0000-4000-8000-000000000000"


def is_empty(turns: Any) -> bool:
    return (turns._in_use, turns._count, turns._held, turns._waiting) == (0, 0, {}, {})


async def test_callers_take_turns_and_not_requests(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("server.front.turns.most_at_once", lambda: 1)
    turns, served = Turns(), []

    async def call(caller: Any) -> None:
        async with turns.turn(caller):
            served.append(caller)

    async with asyncio.TaskGroup() as group, turns.turn("first"):
        for caller in ["many"] * 5 + ["one"]:
            group.create_task(call(caller))
        await wait_until_async(lambda: turns._count == 6)
    assert served == ["many", "one", "many", "many", "many", "many"]
    assert is_empty(turns)


async def test_who_waits_too_long_or_behind_too_many_is_told_to_come_back(
    monkeypatch: pytest.MonkeyPatch, timings: Any
) -> None:
    monkeypatch.setattr("server.front.turns.most_at_once", lambda: 1)
    timings(turn_secs=0.1)
    timings(waiting_requests=0)
    turns = Turns()
    async with turns.turn("first"):
        with pytest.raises(Problem) as full:
            await turns._take("second")
        timings(waiting_requests=1)
        with pytest.raises(Problem) as late:
            await turns._take("second")
    for refused in (full, late):
        assert (refused.value.status, refused.value.headers["Retry-After"]) == (503, "1")
    assert is_empty(turns)


async def test_who_leaves_while_it_waits_takes_no_turn_along(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("server.front.turns.most_at_once", lambda: 1)
    turns = Turns()
    async with turns.turn("first"):
        gone = asyncio.create_task(turns._take("gone"))
        await wait_until_async(lambda: turns._count == 1)
        gone.cancel()
        await asyncio.gather(gone, return_exceptions=True)
    async with turns.turn("next"):
        assert turns._in_use == 1
    assert is_empty(turns)


async def test_a_turn_that_comes_to_somebody_who_leaves_goes_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("server.front.turns.most_at_once", lambda: 1)
    turns = Turns()
    async with turns.turn("first"):
        gone, following = (asyncio.create_task(turns._take(name)) for name in ("gone", "following"))
        await wait_until_async(lambda: turns._count == 2)
    gone.cancel()  # Before it has seen that it has the turn.
    await following
    turns._give_back("following")
    assert is_empty(turns)
    assert gone.cancelled()


@pytest.fixture
async def occupy(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Any]:
    """`occupy(turns, caller)` has a request of this caller hold a turn until the test ends, or wait for one."""
    tasks: list[Any] = []

    async def hold(turns: Any, caller: Any) -> None:
        async with turns.turn(caller):
            await asyncio.Event().wait()

    def come(turns: Any, caller: Any, times: int = 1) -> Any:
        tasks.extend(asyncio.create_task(hold(turns, caller)) for _ in range(times))
        return tasks[-1]

    yield come
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


async def test_one_caller_holds_a_quarter_of_the_turns(monkeypatch: pytest.MonkeyPatch, occupy: Any) -> None:
    monkeypatch.setattr("server.front.turns.most_at_once", lambda: 8)
    turns = Turns()
    occupy(turns, "many", 20)
    await wait_until_async(lambda: turns._count == 18)
    for other in ("one", "two", "three"):
        async with turns.turn(other):
            assert turns._in_use == 3
    occupy(turns, "one", 9)
    await wait_until_async(lambda: turns._count == 25)
    assert turns._held == {"many": 2, "one": 2}


async def test_a_turn_goes_to_whoever_may_have_one(monkeypatch: pytest.MonkeyPatch, occupy: Any) -> None:
    """Not to the caller that waits longest, where that holds its share."""
    monkeypatch.setattr("server.front.turns.most_at_once", lambda: 2)
    turns = Turns()
    occupy(turns, "many", 3)
    async with turns.turn("other"):
        occupy(turns, "next")
        await wait_until_async(lambda: turns._count == 3)
    await wait_until_async(lambda: turns._held == {"many": 1, "next": 1})


async def test_the_newest_of_the_longest_queue_makes_room_for_another_caller(
    monkeypatch: pytest.MonkeyPatch, occupy: Any, timings: Any
) -> None:
    monkeypatch.setattr("server.front.turns.most_at_once", lambda: 1)
    timings(waiting_requests=4)
    turns = Turns()
    occupy(turns, "first")
    newest = occupy(turns, "many", 4)
    await wait_until_async(lambda: turns._count == 4)
    occupy(turns, "one")
    with pytest.raises(Problem) as refused:
        await newest
    assert (refused.value.status, refused.value.type, refused.value.headers["Retry-After"]) == (503, "busy", "1")
    assert {caller: len(requests) for caller, requests in turns._waiting.items()} == {"many": 3, "one": 1}
    with pytest.raises(Problem):
        await turns._take("many")
    assert turns._count == 4


async def test_a_queue_of_callers_with_one_request_each_refuses_the_next(
    monkeypatch: pytest.MonkeyPatch, occupy: Any, timings: Any
) -> None:
    monkeypatch.setattr("server.front.turns.most_at_once", lambda: 1)
    timings(waiting_requests=2)
    turns = Turns()
    for caller in ("first", "one", "two"):
        occupy(turns, caller)
    await wait_until_async(lambda: turns._count == 2)
    with pytest.raises(Problem, match="Too many requests wait"):
        await asyncio.wait_for(turns._take("three"), 5)
    assert {caller: len(requests) for caller, requests in turns._waiting.items()} == {"one": 1, "two": 1}


@pytest.mark.django_db(transaction=True)
def test_who_makes_tokens_up_is_one_caller(
    monkeypatch: pytest.MonkeyPatch, web_server: Server, caller: Caller, connection: Wire
) -> None:
    """A token takes a turn only after it has proven its caller; a cookie counts for its address until then."""
    seen = []
    take = Turns._take
    monkeypatch.setattr(Turns, "_take", lambda turns, name: (seen.append(name), take(turns, name))[1])
    for letter in "abc":
        connection.head("GET", "/api/v1/sessions", token=f"wr_key_{letter * 16}_{'b' * 43}")
        assert connection.answer().status == 401
        connection.head("GET", "/admin/", f"Cookie: sessionid={letter * 32}")
        assert connection.answer().status == 302
    assert seen == ["127.0.0.1"] * 3
    for _ in range(3):
        assert caller.get("/api/v1/sessions").status_code == 200
    assert seen[3:] == [f"key:{caller.credential.public_id}"] * 3
    connection.head("GET", "/api/v1/sessions", token=caller.token[:-1] + ("a" if caller.token[-1] != "a" else "b"))
    assert connection.answer().status == 401
    assert len(seen) == 6  # The id alone is no proof.


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", f"/api/v1/approvals/{NOBODYS}/wait"),
        ("GET", "/api/v1/feed"),
        ("POST", f"/api/v1/sessions/{NOBODYS}/attempts/1/alive"),
        ("POST", f"/api/v1/sessions/{NOBODYS}/attempts/1/exited"),
    ],
)
def test_a_forged_token_takes_no_thread_of_its_own(
    monkeypatch: pytest.MonkeyPatch, web_server: Server, connection: Wire, stranger: str, method: str, path: str
) -> None:
    """These calls wait for no turn: without one check for all of them, a flood would take every thread."""
    monkeypatch.setattr("accounts.credentials.recognise", lambda *_, **__: pytest.fail("a query for one token"))
    if method == "GET":
        connection.head(method, path, "Accept: text/event-stream", token=stranger)
    else:
        connection.head(method, path, JSON, length(2), token=stranger)
        connection.socket.sendall(b"{}")
    assert connection.answer().problem == (401, "unauthenticated")


@pytest.mark.django_db(transaction=True)
def test_who_has_signed_in_is_one_caller_with_any_number_of_sessions(
    monkeypatch: pytest.MonkeyPatch, connection: Wire, admin_user: Any
) -> None:
    seen = []
    take = Turns._take
    monkeypatch.setattr(Turns, "_take", lambda turns, name: (seen.append(name), take(turns, name))[1])
    for _ in range(2):
        browser = Client()
        browser.force_login(admin_user)
        for _ in range(2):
            connection.head("GET", "/admin/", f"Cookie: sessionid={browser.cookies['sessionid'].value}")
            assert connection.answer().status == 200
    assert seen == ["127.0.0.1", f"user:{admin_user.pk}"] * 2


@pytest.mark.django_db(transaction=True)
def test_a_turn_is_given_back_before_the_rest_of_a_body_is_thrown_away(
    monkeypatch: pytest.MonkeyPatch, web_server: Server, timings: Any
) -> None:
    monkeypatch.setattr("server.front.turns.most_at_once", lambda: 1)
    monkeypatch.setattr("server.front.exchange.LINGER_SECS", 20.0)
    timings(turn_secs=1)
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
def test_an_address_that_nobody_knows_takes_no_turn(
    monkeypatch: pytest.MonkeyPatch, connection: Wire, path: str, size: int, timings: Any
) -> None:
    monkeypatch.setattr("server.front.turns.most_at_once", lambda: 0)
    timings(waiting_requests=0)
    connection.head("POST", path, length(size))
    assert connection.answer().problem == (404, "not-found")


@pytest.mark.django_db(transaction=True)
def test_a_browser_gets_a_page_where_nothing_is(connection: Wire) -> None:
    connection.head("GET", "/nix", "Accept: text/html")
    answer = connection.answer()
    assert (answer.status, answer.headers["content-type"]) == (404, "text/html; charset=utf-8")


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize(("path", "status"), [("/", 302), ("/admin", 301), ("/static/x.css", 404), ("/api/x", 401)])
def test_addresses_of_django_are_still_its_own(connection: Wire, path: str, status: int) -> None:
    connection.head("GET", path)
    assert connection.answer().status == status


@pytest.mark.stack
def test_five_hundred_calls_at_once_fit_the_usual_limit_of_files(stack: Callable[..., House]) -> None:
    house = stack(worker=False, beat=False)
    house.stop("web1")
    house.services["web1"].command[:0] = ["prlimit", "--nofile=1024:1024"]
    house.start("web1")
    limits = httpx.Limits(max_connections=500)
    with house.client(limits=limits) as client, ThreadPoolExecutor(500) as pool:
        statuses = Counter(pool.map(lambda _: client.get("/api/v1/sessions", timeout=100).status_code, range(500)))
    assert set(statuses) <= {200, 503}
    assert statuses[200] >= 100
    assert "unable to open database file" not in house.logs("web1")
