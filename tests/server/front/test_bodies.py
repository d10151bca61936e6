"""A body is read after its caller's authentication, and only up to its bounds, on every route."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
from django.test import Client

from accounts import unreadable
from accounts.models import Credential
from core.limits import LIMITS
from mailbox.models import Message
from orchestration.models import Session
from server.front import budget
from tests.mailbox.faces import Caller, Server
from tests.server.front.wire import CHUNKED, JSON, Wire, length, wire
from tests.waiting import wait_until

pytestmark = pytest.mark.django_db(transaction=True)

MIB = 1024 * 1024
HUGE = 200 * MIB
DRF, HOT, ADMIN, UNKNOWN = "/api/v1/sessions", "/api/v1/mailboxes/desk/messages", "/admin/login/", "/nix"
STATUS = {DRF: 401, HOT: 401, "/api/v1/nix": 401, ADMIN: 413, UNKNOWN: 404, "/": 302, "/static/x.css": 404}
#: What a server may take of a body that it refuses: its own buffers, the kernel's, and what it throws away.
MOST_TAKEN = 24 * MIB


@pytest.fixture
def strangers_memory() -> Iterator[None]:
    """All the memory for the bodies of callers that were not checked is in use, by many of them."""
    most = LIMITS.unproven_bytes_at_once
    held = [(f"address {number}", most // 4) for number in range(4)]
    for owner, size in held:
        budget.unproven.take(owner, size)
    yield
    for owner, size in held:
        budget.unproven.give_back(owner, size)


@pytest.mark.parametrize("framing", [length(HUGE), CHUNKED])
@pytest.mark.parametrize("path", STATUS)
def test_nothing_of_a_strangers_body_is_read(connection: Wire, path: Any, framing: Any) -> None:
    connection.head("POST", path, JSON, framing)
    if framing == CHUNKED:
        connection.socket.sendall(f"{HUGE:x}\r\n".encode())
        connection.pour(MIB)
    answer = connection.answer()
    assert answer.status in (STATUS[path], 403, 405)
    assert answer.headers["connection"] == "close"
    assert connection.pour(HUGE) < MOST_TAKEN
    assert connection.is_closed()


@pytest.mark.parametrize("framing", [length(HUGE), length(70_000), CHUNKED])
@pytest.mark.parametrize("path", [DRF, HOT])
def test_a_token_of_nobody_is_checked_before_a_long_body_is_read(
    connection: Wire, stranger: str, path: Any, framing: Any
) -> None:
    connection.head("POST", path, JSON, framing, token=stranger)
    assert connection.answer().problem == (401, "unauthenticated")


def test_a_token_of_nobody_is_checked_when_a_short_body_does_not_come(connection: Wire, stranger: str) -> None:
    connection.head("POST", DRF, JSON, length(10), token=stranger)
    assert connection.answer().problem == (401, "unauthenticated")


def test_a_length_over_the_limit_is_refused_unread(caller: Caller, connection: Wire) -> None:
    connection.head("POST", DRF, JSON, length(HUGE), token=caller.token)
    assert connection.answer().problem == (413, "too-large")
    assert connection.pour(HUGE) < MOST_TAKEN


def test_chunks_over_the_limit_are_refused_when_they_are_too_many(caller: Caller, connection: Wire) -> None:
    connection.head("POST", DRF, JSON, CHUNKED, token=caller.token)
    connection.socket.sendall(f"{HUGE:x}\r\n".encode())
    connection.pour(LIMITS.max_request_bytes + 65536)
    assert connection.answer().problem == (413, "too-large")


@pytest.mark.parametrize("framing", [length(100), CHUNKED])
@pytest.mark.parametrize("path", [DRF, HOT])
def test_a_body_that_does_not_come_is_given_up(
    caller: Caller, connection: Wire, timings: Any, path: Any, framing: Any
) -> None:
    timings(body_secs=0.2)
    connection.head("POST", path, JSON, framing, token=caller.token)
    assert connection.answer().problem == (408, "too-slow")
    assert connection.is_closed()


def test_a_form_that_does_not_come_is_given_up(connection: Wire, timings: Any) -> None:
    timings(body_secs=0.2)
    connection.head("POST", ADMIN, "Content-Type: application/x-www-form-urlencoded", length(100))
    assert connection.answer().status == 408


@pytest.mark.parametrize("cookies", [(), (f"Cookie: sessionid={'a' * 32}",)], ids=["no cookie", "an unknown one"])
def test_a_stranger_has_a_short_time_for_a_form(
    connection: Wire, monkeypatch: pytest.MonkeyPatch, timings: Any, cookies: tuple[str, ...]
) -> None:
    monkeypatch.setattr("server.front.gate.AT_ONCE_SECS", 0.1)
    timings(body_secs=120)
    connection.head("POST", ADMIN, "Content-Type: application/x-www-form-urlencoded", length(100), *cookies)
    assert connection.answer().status == 408  # Its socket waits for less than `body_secs`.


def test_a_form_has_the_time_of_a_stranger_until_its_sender_is_known(web_server: Server, admin_client: Client) -> None:
    form = "Content-Type: application/x-www-form-urlencoded"
    with wire(web_server.port) as stranger, wire(web_server.port) as staff:
        staff.head("POST", ADMIN, form, length(10), f"Cookie: sessionid={admin_client.cookies['sessionid'].value}")
        stranger.head("POST", ADMIN, form, length(10), f"Cookie: sessionid={'a' * 32}")
        stranger.socket.settimeout(LIMITS.body_secs / 2)
        assert stranger.answer().status == 408
        staff.socket.sendall(b"0123456789")
        assert staff.answer().status == 403  # Django reads it, and asks for the form's token.


def test_a_browser_gets_a_page_from_the_admin_and_a_program_a_problem(web_server: Server) -> None:
    with wire(web_server.port) as browser:
        browser.head("POST", ADMIN, "Accept: text/html,*/*", length(HUGE))
        answer = browser.answer()
        assert (answer.status, answer.headers["content-type"]) == (413, "text/html; charset=utf-8")
    with wire(web_server.port) as program:
        program.head("POST", ADMIN, length(HUGE))
        assert program.answer().problem == (413, "too-large")


def test_a_chunked_body_is_a_body_on_every_call(caller: Caller, connection: Wire) -> None:
    body = json.dumps({"runner": "external", "assignment": "wait", "title": "in pieces"}).encode()
    connection.head("POST", DRF, JSON, CHUNKED, token=caller.token)
    for at in range(0, len(body), 10):
        connection.chunk(body[at : at + 10])
    connection.chunk(b"")
    assert connection.answer().status == 201
    assert Session.objects.get().title == "in pieces"


def test_a_chunked_drain_keeps_its_limit(caller: Caller, connection: Wire) -> None:
    for name in ("one", "two"):
        caller.post(HOT, {"id": name, "message_kind": "task", "body": name})
    connection.head("POST", "/api/v1/mailboxes/desk/drain", JSON, CHUNKED, token=caller.token)
    connection.chunk(b'{"limit": 1}')
    connection.chunk(b"")
    assert [each["id"] for each in connection.answer().json()["messages"]] == ["one"]


def test_a_compressed_body_is_refused_by_name(caller: Caller, connection: Wire) -> None:
    for path in (DRF, HOT):
        connection.head("POST", path, JSON, "Content-Encoding: gzip", length(3), token=caller.token)
        connection.socket.sendall(b"abc")
        answer = connection.answer()
        assert answer.problem == (415, "unsupported-encoding")
        connection.socket.close()
        connection.__init__(caller.face.port)  # type: ignore[misc, union-attr]


def test_one_key_holds_a_quarter_of_the_memory_for_bodies(caller: Caller, connection: Wire, timings: Any) -> None:
    timings(body_bytes_at_once=800_000)
    connection.head("POST", HOT, JSON, length(300_000), token=caller.token)
    connection.pour(196_608 + 65_536)
    answer = connection.answer()
    assert (answer.problem, answer.headers["retry-after"]) == ((429, "too-many"), "1")


def test_what_a_key_has_sent_before_it_is_known_counts_as_its_own(
    caller: Caller, connection: Wire, monkeypatch: pytest.MonkeyPatch, timings: Any
) -> None:
    monkeypatch.setattr("server.front.gate.AT_ONCE_SECS", 0.2)
    timings(body_bytes_at_once=1000)
    connection.head("POST", HOT, JSON, length(600), token=caller.token)
    connection.socket.sendall(b"x" * 500)
    answer = connection.answer()
    assert (answer.problem, answer.headers["retry-after"]) == ((429, "too-many"), "1")
    wait_until(lambda: (budget.proven._held, budget.unproven._held) == (0, 0))


def test_one_address_holds_half_of_the_memory_for_bodies_of_strangers(
    connection: Wire, stranger: str, timings: Any
) -> None:
    timings(unproven_bytes_at_once=1000)
    connection.head("POST", HOT, JSON, length(501), token=stranger)
    connection.socket.sendall(b"x" * 501)
    answer = connection.answer()
    assert (answer.problem, answer.headers["retry-after"]) == ((429, "too-many"), "1")


def test_bodies_that_do_not_fit_are_refused_and_the_next_one_is_taken(
    caller: Caller, connection: Wire, timings: Any
) -> None:
    with timings(unproven_bytes_at_once=10):
        answer = caller.post(HOT, {"id": "one", "message_kind": "task", "body": "x" * 100})
        assert (answer.status_code, answer.json()["type"], answer.headers["retry-after"]) == (503, "busy", "1")
        told = caller.face.call("GET", "/readyz", b"", {}, {}).json()
        assert not told["parts"]["front"]["ok"]
        assert told["parts"]["front"]["refused"]["unproven_bytes_at_once"] >= 1
    assert caller.post(HOT, {"id": "two", "message_kind": "task", "body": "x"}).status_code == 201
    assert [row.message_id for row in Message.objects.all()] == ["two"]


def test_a_credential_that_cannot_be_read_is_refused_and_counted(
    caller: Caller, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(unreadable, "_refused", {})
    Credential.objects.filter(pk=caller.credential.pk).update(scopes=7)
    assert caller.get("/api/v1/sessions").status_code == 401
    told = caller.face.call("GET", "/readyz", b"", {}, {}).json()
    assert told["parts"]["credentials"] == {"ok": False, "unreadable": 1}


def test_who_can_prove_themselves_are_served_while_strangers_fill_their_memory(
    caller: Caller, strangers_memory: Any
) -> None:
    """Slow strangers fill the memory. A short body of an authenticated caller is still read."""
    answer = caller.post(HOT, {"id": "one", "message_kind": "task", "body": "x"})
    assert answer.status_code == 201, answer.text


def test_a_stranger_is_checked_first_while_strangers_fill_their_memory(
    connection: Wire, stranger: str, strangers_memory: Any
) -> None:
    connection.head("POST", DRF, JSON, length(10), token=stranger)
    connection.socket.sendall(b"0123456789")
    assert connection.answer().problem == (401, "unauthenticated")


def test_forms_wait_for_nobody_while_strangers_fill_their_memory(
    connection: Wire, web_server: Server, admin_client: Client, strangers_memory: Any
) -> None:
    form = "Content-Type: application/x-www-form-urlencoded"
    connection.head("POST", ADMIN, form, length(10))
    assert connection.answer().problem == (503, "busy")
    with wire(web_server.port) as browser:
        browser.head("POST", ADMIN, form, length(10), f"Cookie: sessionid={admin_client.cookies['sessionid'].value}")
        browser.socket.sendall(b"0123456789")
        assert browser.answer().status == 403  # Django reads it, and asks for the form's token.


def test_what_was_read_is_given_back_whatever_happens(caller: Caller, connection: Wire, stranger: str) -> None:
    caller.post(DRF, raw=b"[" * 1000)
    caller.post(HOT, {"id": "one", "message_kind": "task", "body": "x" * 100_000})
    connection.head("POST", DRF, JSON, length(1000), token=caller.token)
    connection.socket.sendall(b"abc")
    connection.socket.close()
    wait_until(lambda: (budget.proven._held, budget.unproven._held) == (0, 0))
    assert not budget.proven._by_owner


def test_the_connection_goes_on_behind_a_body_that_was_read(caller: Caller, connection: Wire) -> None:
    for name in ("one", "two"):
        body = json.dumps({"runner": "external", "assignment": name}).encode()
        connection.head("POST", DRF, JSON, length(body), token=caller.token)
        connection.socket.sendall(body)
        answer = connection.answer()
        assert (answer.status, answer.headers.get("connection")) == (201, None)
