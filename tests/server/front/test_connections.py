"""An idle connection is closed after a documented time, and too many harm no other caller."""

from __future__ import annotations

import json
from collections.abc import Callable
from contextlib import ExitStack
from typing import Any

import httpx
import pytest
from websockets.sync.client import connect

from core.limits import LIMITS
from server.front import connection as front_connection
from server.front.exchange import Exchange
from server.up import web_options
from tests.mailbox.faces import Caller, Server
from tests.server.front.wire import JSON, Wire, length, wire
from tests.servers.databases import ROOT
from tests.servers.stack import House, web_command
from tests.waiting import wait_until

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def hurried(timings: Any) -> None:
    timings(head_secs=0.3)


def test_a_connection_without_a_request_is_closed(hurried: Any, connection: Wire) -> None:
    assert connection.is_closed()


@pytest.mark.parametrize(
    "half", [b"G", b"GET /healthz HTTP/1.1\r\n", b"GET /healthz HTTP/1.1\r\nHost: testserver\r\nX: "]
)
def test_half_a_head_is_given_up(hurried: Any, connection: Wire, half: bytes) -> None:
    connection.socket.sendall(half)
    assert connection.answer().problem == (408, "too-slow")
    assert connection.is_closed()


def test_half_a_second_head_is_given_up(hurried: Any, connection: Wire) -> None:
    connection.head("GET", "/healthz")
    assert connection.answer().status == 200
    connection.socket.sendall(b"GET /healthz HTTP/1.1\r\n")
    assert connection.answer().problem == (408, "too-slow")


def test_a_head_that_comes_byte_by_byte_has_one_deadline(hurried: Any, connection: Wire) -> None:
    connection.socket.sendall(b"GET /healthz HTTP/1.1\r\nX: ")
    connection.socket.settimeout(0.02)

    def dripped() -> Any:
        connection.socket.sendall(b"x")
        try:
            return connection.socket.recv(4096)
        except TimeoutError:
            return b""

    assert wait_until(dripped).startswith(b"HTTP/1.1 408")


def test_a_head_without_end_is_refused(connection: Wire) -> None:
    connection.socket.sendall(b"GET /healthz HTTP/1.1\r\nX: ")
    connection.pour(2 * LIMITS.max_head_bytes)
    assert connection.answer().problem == (431, "too-large")
    assert connection.is_closed()


def test_trailers_without_end_are_cut_off(caller: Caller, connection: Wire) -> None:
    connection.head("POST", "/api/v1/sessions", JSON, "Transfer-Encoding: chunked", token=caller.token)
    connection.socket.sendall(b"0\r\nX: ")
    most = 16 * LIMITS.max_request_bytes
    assert connection.pour(most) < most


def test_a_body_that_nobody_reads_is_cut_off(connection: Wire) -> None:
    connection.head("GET", "/healthz", length(10**9))
    assert connection.answer().status == 200
    assert connection.pour(10**8) < 10**8


def test_a_call_that_is_held_is_not_hurried(hurried: Any, caller: Caller, connection: Wire) -> None:
    connection.head("GET", "/api/v1/feed", "Accept: text/event-stream", token=caller.token)
    head = connection.socket.recv(65536)
    assert head.startswith(b"HTTP/1.1 200")
    connection.socket.settimeout(1)
    with pytest.raises(TimeoutError):
        while connection.socket.recv(65536):
            pass


def test_what_is_no_http_is_a_problem(connection: Wire) -> None:
    connection.socket.sendall(b"\x16\x03\x01\x02\x00\r\n\r\n")
    assert connection.answer().problem == (400, "invalid")


def test_silent_connections_of_one_address_make_room_for_the_next(timings: Any, web_server: Server) -> None:
    timings(silent_connections_per_address=5)
    with ExitStack() as opened:
        opened_connections = [opened.enter_context(wire(web_server.port)) for _ in range(8)]
        assert all(each.is_closed() for each in opened_connections[:3])
        opened_connections[-1].head("GET", "/healthz")
        assert opened_connections[-1].answer().status == 200


def test_connections_that_fall_silent_behind_a_head_make_room_too(
    monkeypatch: pytest.MonkeyPatch, web_server: Server, stranger: str, timings: Any
) -> None:
    timings(silent_connections_per_address=5)
    monkeypatch.setattr("server.front.gate.AT_ONCE_SECS", 60.0)
    with ExitStack() as opened:
        opened_connections = []
        for _ in range(8):
            opened_connections.append(opened.enter_context(wire(web_server.port)))
            opened_connections[-1].head("POST", "/api/v1/sessions", JSON, length(2), token=stranger)
        assert all(each.is_closed() for each in opened_connections[:3])
        for each in opened_connections[3:]:
            each.socket.sendall(b"{}")
            assert each.answer().problem == (401, "unauthenticated")


def test_connections_that_fall_silent_in_a_second_head_make_room_too(timings: Any, web_server: Server) -> None:
    timings(head_secs=600)  # The deadline must not close them.
    timings(silent_connections_per_address=5)
    with ExitStack() as opened:
        opened_connections = [opened.enter_context(wire(web_server.port)) for _ in range(5)]
        for each in opened_connections:
            each.head("GET", "/healthz")
            assert each.answer().status == 200
        opened_connections += [opened.enter_context(wire(web_server.port)) for _ in range(3)]
        for each in opened_connections[5:]:
            each.head("GET", "/healthz")
            assert each.answer().status == 200
        for number, each in enumerate(opened_connections, 1):
            each.socket.sendall(b"G")
            wait_until(lambda number=number: len(front_connection._everybody_silent) >= min(number, 5))
        assert all(each.is_closed() for each in opened_connections[:3])
        assert len(front_connection._everybody_silent) == 5


def test_a_second_request_that_falls_silent_is_counted_too(
    monkeypatch: pytest.MonkeyPatch, web_server: Server, stranger: str, timings: Any
) -> None:
    monkeypatch.setattr("server.front.gate.AT_ONCE_SECS", 60.0)
    with wire(web_server.port) as first, wire(web_server.port) as second:
        for each in (first, second):
            each.head("GET", "/healthz")
            assert each.answer().status == 200
        wait_until(lambda: not front_connection._everybody_silent)
        timings(silent_connections_per_address=1)
        first.head("POST", "/api/v1/sessions", JSON, length(2), token=stranger)
        wait_until(lambda: front_connection._everybody_silent)
        second.head("POST", "/api/v1/sessions", JSON, length(2), token=stranger)
        assert first.is_closed()
        second.socket.sendall(b"{}")
        assert second.answer().status == 401


def test_who_is_known_may_take_the_time_for_a_body(
    monkeypatch: pytest.MonkeyPatch, web_server: Server, caller: Caller, timings: Any
) -> None:
    wait_until(lambda: not front_connection._everybody_silent)
    timings(silent_connections_per_address=1)
    proven = []
    prove = Exchange.prove
    monkeypatch.setattr(Exchange, "prove", lambda *told: (prove(*told), proven.append(told)))
    with ExitStack() as opened:
        opened_connections = []
        for number in range(1, 5):
            opened_connections.append(opened.enter_context(wire(web_server.port)))
            opened_connections[-1].head("POST", "/api/v1/sessions", JSON, length(70_000), token=caller.token)
            wait_until(lambda number=number: len(proven) == number)
        for each in opened_connections:
            each.socket.sendall(b"[" * 70_000)
            assert each.answer().status == 422


def test_silent_connections_make_room_when_there_are_too_many(timings: Any, web_server: Server) -> None:
    timings(connections=6)
    with ExitStack() as opened:
        opened_connections = [opened.enter_context(wire(web_server.port)) for _ in range(30)]
        opened_connections[-1].head("GET", "/healthz")
        assert opened_connections[-1].answer().status == 200


def test_busy_connections_are_kept_and_the_next_is_refused(timings: Any, caller: Caller, web_server: Server) -> None:
    with ExitStack() as opened:
        opened_connections = [opened.enter_context(wire(web_server.port)) for _ in range(4)]
        for each in opened_connections:
            each.head("GET", "/api/v1/feed", "Accept: text/event-stream", token=caller.token)
            assert each.socket.recv(12) == b"HTTP/1.1 200"
        with timings(connections=4), wire(web_server.port) as late:
            answer = late.answer()
        assert (answer.problem, answer.headers["retry-after"]) == ((503, "busy"), "1")
        told = httpx.get(f"http://127.0.0.1:{web_server.port}/readyz", timeout=30).json()
        assert told["parts"]["front"]["refused"]["connections"] >= 1


def test_every_way_to_start_a_web_process_has_these_bounds(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOST", "127.0.0.1")
    monkeypatch.setenv("PORT", "8000")
    for command in ((ROOT / "Procfile").read_text(), " ".join(web_options()), " ".join(web_command(8000))):
        assert "--http server.front.connection:FrontConnection" in command


@pytest.mark.stack
def test_a_quiet_childs_socket_is_no_request_that_is_late(stack: Callable[..., House]) -> None:
    house = stack(worker=False, beat=False, timings={"head_secs": 1})
    spawned = house.client().post("/api/v1/sessions", json={"runner": "external", "assignment": "wait"}).json()["child"]
    headers = {"Authorization": f"Bearer {spawned['token']}"}
    with connect(
        spawned["websocket_url"], additional_headers=headers, subprotocols=["wardroom.v1"], proxy=None
    ) as child:
        child.send('{"kind": "hello", "attempt": 1}')
        assert [json.loads(child.recv())["kind"] for _ in range(2)] == ["welcome", "run"]
        with pytest.raises(TimeoutError):
            child.recv(timeout=4)
        child.send('{"kind": "run_ack"}')
        assert child.ping().wait(10)


@pytest.mark.stack
def test_a_hundred_idle_sockets_harm_nobody_under_a_small_limit_of_files(stack: Callable[..., House]) -> None:
    house = stack(worker=False, beat=False)
    house.stop("web1")
    house.services["web1"].command[:0] = ["prlimit", "--nofile=64:64"]
    house.start("web1")
    port = int(house.url.rpartition(":")[2])
    with ExitStack() as opened:
        for _ in range(100):
            opened.enter_context(wire(port))
        answer = house.client().get("/api/v1/sessions")
        assert answer.status_code == 200
