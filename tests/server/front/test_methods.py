"""HEAD is GET without its body, OPTIONS names the methods, and `Allow` is correct, on every route."""

from __future__ import annotations

from typing import Any
from uuid import uuid4

import pytest

from approvals.models import Approval
from tests.mailbox.faces import Caller, Server
from tests.server.front.wire import Wire, wire

pytestmark = pytest.mark.django_db(transaction=True)

LISTS = ["sessions", "approvals", "approvals/count", "feed", "snapshot", "quarantine", "mailboxes/desk"]
ALIVE = f"/api/v1/sessions/{uuid4()}/attempts/1/alive"


def ask(caller: Any, connection: Any, method: Any, path: Any, *headers: Any) -> Any:
    connection.head(method, path, *headers, token=caller.token)
    return connection.answer()


@pytest.mark.parametrize("path", LISTS)
def test_head_is_get_without_its_body(caller: Caller, connection: Wire, path: Any) -> None:
    connection.head("GET", f"/api/v1/{path}", token=caller.token)
    got = connection.answer()
    connection.head("HEAD", f"/api/v1/{path}", "Connection: close", token=caller.token)
    rest = b""
    while chunk := connection.socket.recv(65536):
        rest += chunk
    head, _, body = rest.partition(b"\r\n\r\n")
    assert (head.split(b" ")[1], body) == (str(got.status).encode(), b"")


def test_the_head_of_a_stream_ends_and_the_connection_goes_on(caller: Caller, connection: Wire) -> None:
    for path in ("/api/v1/feed", f"/api/v1/sessions/{spawned(caller)}/events"):
        connection.head("HEAD", path, "Accept: text/event-stream", token=caller.token)
        answer = connection.answer()
        assert (answer.status, answer.headers["content-type"].partition(";")[0]) == (200, "text/event-stream")
        assert ask(caller, connection, "GET", "/healthz").status == 200


def test_the_head_of_a_wait_holds_nothing_and_takes_no_answer_over(caller: Caller, connection: Wire) -> None:
    asked = {"request_id": "r1", "tool_name": "deploy", "permission": "deploy", "resource": "web"}
    made = caller.post("/api/v1/approvals", asked).json()
    answer = caller.call("HEAD", f"/api/v1/approvals/{made['id']}/wait", query={"timeout": "25"})
    assert (answer.status_code, answer.elapsed.total_seconds() < 20) == (200, True)
    decided = caller.post(f"/api/v1/approvals/{made['id']}/decide", {"decision": "deny"})
    assert decided.status_code == 200, decided.text
    assert caller.call("HEAD", f"/api/v1/approvals/{made['id']}/wait").status_code == 200
    assert Approval.objects.get().delivered_at is None


@pytest.mark.parametrize("path", [*LISTS, "mailboxes/desk/messages", "mailboxes/desk/drain"])
def test_options_names_methods_and_each_of_them_is_allowed(caller: Caller, connection: Wire, path: Any) -> None:
    answer = ask(caller, connection, "OPTIONS", f"/api/v1/{path}")
    assert (answer.status, answer.body) == (204, b"")
    for method in answer.headers["allow"].split(", "):
        told = caller.call(method, f"/api/v1/{path}", b"{}")
        assert told.status_code != 405, method


@pytest.mark.parametrize(("path", "allowed"), [(ALIVE, "OPTIONS, POST"), ("/healthz", "GET, HEAD, OPTIONS")])
def test_addresses_that_django_does_not_know_name_their_methods(
    caller: Caller, connection: Wire, path: Any, allowed: str
) -> None:
    answer = ask(caller, connection, "OPTIONS", path)
    assert (answer.status, answer.headers["allow"]) == (204, allowed)
    refused = ask(caller, connection, "DELETE", path)
    assert (refused.problem, refused.headers["allow"]) == ((405, "invalid"), allowed)


@pytest.mark.parametrize("path", ["sessions", "mailboxes/desk/messages"])
def test_an_answer_that_has_no_body_by_its_status_names_no_length(caller: Caller, connection: Wire, path: str) -> None:
    answer = ask(caller, connection, "OPTIONS", f"/api/v1/{path}")
    assert (answer.status, "content-length" in answer.headers) == (204, False)
    tag = ask(caller, connection, "GET", "/api/v1/schema").headers["etag"]
    same = ask(caller, connection, "GET", "/api/v1/schema", f"If-None-Match: {tag}")
    assert (same.status, "content-length" in same.headers) == (304, False)
    assert ask(caller, connection, "GET", "/healthz").status == 200


def test_nobody_without_a_token_is_told_the_methods(connection: Wire) -> None:
    connection.head("OPTIONS", "/api/v1/sessions")
    assert connection.answer().problem == (401, "unauthenticated")


def test_a_plain_request_to_a_childs_address_is_told_which_headers_are_missing(web_server: Server) -> None:
    with wire(web_server.port) as connection:
        connection.head("GET", f"/ws/children/{uuid4()}")
        answer = connection.answer()
    assert (answer.problem, answer.headers["upgrade"]) == ((426, "upgrade-required"), "websocket")
    assert "proxy_set_header Upgrade" in answer.json()["detail"]


def spawned(caller: Any) -> Any:
    return caller.post("/api/v1/sessions", {"runner": "external", "assignment": "wait"}).json()["id"]
