"""A call takes the query parameters and the key that its page names, each once. It refuses every other."""

from __future__ import annotations

from typing import Any

import pytest

from accounts import projects
from tests.api import odd
from tests.api.test_odd_values import filled
from tests.mailbox.faces import Caller, Server

pytestmark = pytest.mark.django_db

ACTION = {"request_id": "r", "tool_name": "shell", "permission": "execute", "resource": "ls"}
TASK = {"id": "a", "message_kind": "task", "body": "do it"}
NOT_MINE = f"/api/v1/sessions/{odd.NEVER}"
#: Each takes the key; a call of the same sort that does not is below.
TAKING = ["/api/v1/sessions", "/api/v1/approvals", f"{NOT_MINE}/cancel", f"{NOT_MINE}/retry", f"{NOT_MINE}/ask"]
TAKING += [f"/api/v1/approvals/{odd.NEVER}/{operation}" for operation in ("decide", "withdraw", "consume", "fallback")]
STEPS = ("claim", "release", "delegate", "snooze", "extend", "escalate", "ask-back", "remind")
TAKING += [f"/api/v1/approvals/{odd.NEVER}/{step}" for step in STEPS]
TAKING.append(f"/api/v1/approvals/{odd.NEVER}/questions/{odd.NEVER}/answer")
TAKING += [f"/api/v1/approvals/{odd.NEVER}/{operation}" for operation in ("outcome", "unknown-outcome")]
TAKING += ["/api/v1/rules", "/api/v1/webhooks", f"/api/v1/webhooks/{odd.NEVER}/rotate"]
TAKING += ["/api/v1/reviewers", f"/api/v1/reviewers/{odd.NEVER}/rotate"]
TAKING += [f"/api/v1/{granted}/{odd.NEVER}/revoke" for granted in ("grants", "plans")]


def refused(answer: Any, field: str) -> str:
    assert answer.status_code == 422, (answer.status_code, answer.text if hasattr(answer, "text") else answer.content)
    assert answer.headers["Content-Type"] == "application/problem+json"
    [error] = answer.json()["errors"]
    assert error["field"] == field
    return str(error["detail"])


def posts() -> list[str]:
    """Those that need no web process. A delivery has a commit of its own, and a supervisor a token of its own."""
    paths = [filled(path) for path, _ in odd.posts() if "/attempts/" not in path]
    return [path for path in paths if not path.startswith("/api/v1/mailboxes/") or not path.endswith("/messages")]


@pytest.mark.parametrize("path", [path for path, *_ in odd.rest()])
def test_a_parameter_that_a_get_does_not_know_is_refused_by_name(caller: Caller, path: str) -> None:
    assert refused(caller.get(filled(path), stat="pending"), "stat") == "is no parameter of this call"


@pytest.mark.parametrize("path", posts())
def test_a_parameter_that_a_post_does_not_know_is_refused_by_name(caller: Caller, path: str) -> None:
    assert refused(caller.call("POST", path, b"{}", {"limit": "1"}), "limit") == "is no parameter of this call"


@pytest.mark.parametrize(("path", "names"), [(path, names) for path, _, names in odd.rest() if names])
def test_every_parameter_of_the_document_is_known(caller: Caller, path: str, names: list[str]) -> None:
    for name in names:
        answer = caller.get(filled(path), **{name: "\u202e"})
        assert "is no parameter of this call" not in answer.content.decode(), name


@pytest.mark.parametrize(
    ("path", "query"),
    [
        ("sessions", {"status": "bogus"}),
        ("sessions", {"runner": "\0"}),
        ("sessions", {"role": "\0"}),
        ("sessions", {"parent": "1"}),
        ("sessions", {"root": f"{{{odd.NEVER}}}"}),
        ("approvals", {"status": ""}),
        ("approvals", {"unconsumed": "yes"}),
        ("approvals", {"session": "x"}),
        ("approvals/count", {"tool": "\0"}),
        ("quarantine", {"source": "bogus"}),
        ("quarantine", {"state": "bogus"}),
        ("quarantine", {"address": "\0"}),
        ("mailboxes/desk/messages", {"state": "bogus"}),
        ("feed", {"limit": "501"}),
        ("feed", {"after": "-1"}),
        ("approvals", {"cursor": "x"}),
        (f"approvals/{odd.NEVER}/wait", {"timeout": "301"}),
        (f"approvals/{odd.NEVER}/wait", {"timeout": "."}),
    ],
)
def test_a_value_that_means_nothing_is_refused_by_the_name_of_its_parameter(
    caller: Caller, path: str, query: dict[str, str]
) -> None:
    answer = caller.get(f"/api/v1/{path}", **query)
    refused(answer, *query)
    assert answer.json()["detail"] == "The query is not valid."


@pytest.mark.parametrize("path", ["sessions", "approvals", "quarantine", "mailboxes/desk/messages"])
def test_an_empty_cursor_is_the_beginning(caller: Caller, path: str) -> None:
    assert caller.get(f"/api/v1/{path}", cursor="").status_code == 200


def test_a_stranger_learns_nothing_of_parameters(caller: Caller) -> None:
    assert caller.call("GET", "/api/v1/sessions", query={"stat": "x"}, Authorization="").status_code == 401
    weak = Caller(caller.face, projects.default().pk, scopes=["feed:read"])
    assert weak.get("/api/v1/sessions", stat="x").status_code == 403


@pytest.mark.parametrize("path", [path for path in posts() if path not in TAKING])
def test_a_call_that_does_not_take_a_key_refuses_it(caller: Caller, path: str) -> None:
    answer = caller.post(path, {}, Idempotency_Key="k")
    assert refused(answer, "Idempotency-Key") == "is not taken by this call"


@pytest.mark.parametrize("path", TAKING)
@pytest.mark.parametrize("key", [" ", "x" * 256, "a\tb"])
def test_a_key_that_names_nothing_is_refused(caller: Caller, path: str, key: str) -> None:
    assert "255" in refused(caller.post(path, {}, Idempotency_Key=key), "Idempotency-Key")


# --- at a web process ------------------------------------------------------------------------------------------------

HELD_GETS = [
    "/api/v1/feed",
    f"{NOT_MINE}/asks/x",
    "/api/v1/mailboxes/desk/asks/x",
    f"/api/v1/approvals/{odd.NEVER}/wait",
]


@pytest.mark.django_db(transaction=True)
def test_calls_before_django_refuse_what_they_do_not_know(far: Caller) -> None:
    for path in HELD_GETS:
        accepts = {"Accept": "text/event-stream"} if path.endswith("feed") else {}
        refused(far.call("GET", path, query={"stat": "x"}, **accepts), "stat")
    for path in (f"{NOT_MINE}/ask", "/api/v1/mailboxes/desk/messages", f"{NOT_MINE}/attempts/1/alive"):
        refused(far.call("POST", path, b"{}", {"limit": "1"}), "limit")
    for path in ("/api/v1/mailboxes/desk/messages", f"{NOT_MINE}/attempts/1/exited"):
        refused(far.post(path, TASK, Idempotency_Key="k"), "Idempotency-Key")


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("path", TAKING)
def test_a_key_that_is_given_empty_or_twice_is_refused(server: Server, far: Caller, path: str) -> None:
    for keys, why in (([""], "printable"), (["a", "b"], "twice"), (["a", "a"], "twice")):
        headers = [("Authorization", f"Bearer {far.token}"), *(("Idempotency-Key", key) for key in keys)]
        assert why in refused(server.client.post(path, json={}, headers=headers), "Idempotency-Key")


@pytest.mark.django_db(transaction=True)
def test_a_parameter_that_is_given_twice_is_refused(server: Server, far: Caller) -> None:
    for path in ("/api/v1/sessions?limit=1&limit=2", f"/api/v1/approvals/{odd.NEVER}/wait?timeout=1&timeout=1"):
        answer = server.client.get(path, headers={"Authorization": f"Bearer {far.token}"})
        assert refused(answer, path.partition("?")[2].partition("=")[0]) == "is given twice"


@pytest.mark.django_db(transaction=True)
def test_more_parameters_than_django_reads_are_a_problem_document(server: Server, far: Caller) -> None:
    many = "&".join(f"a{number}=1" for number in range(1200))
    answer = server.client.get(f"/api/v1/sessions?{many}", headers={"Authorization": f"Bearer {far.token}"})
    assert (answer.status_code, answer.json()["type"]) == (422, "invalid")


@pytest.mark.parametrize("seconds", ["0", "0.0", "0.", "4.84669911496722e-264", "1E-3"])
def test_a_number_is_read_as_json_writes_it(caller: Caller, seconds: str) -> None:
    assert caller.get(f"/api/v1/approvals/{odd.NEVER}/wait", timeout=seconds).status_code == 404


@pytest.mark.parametrize("seconds", ["9.028605986401983e+307", "1e2", "nan", "-1", "1_0", "0x1", "\u0661", "1" * 30])
def test_what_is_no_number_of_seconds_is_refused(caller: Caller, seconds: str) -> None:
    refused(caller.get(f"/api/v1/approvals/{odd.NEVER}/wait", timeout=seconds), "timeout")


@pytest.mark.parametrize("path", [f"/api/v1/approvals/{odd.NEVER}", f"/api/v1/approvals/{odd.NEVER}/wait?timeout=0"])
def test_a_method_that_an_address_lacks_is_405_before_its_query_is_checked(caller: Caller, path: str) -> None:
    for method in ("POST", "DELETE", "TRACE", "QUERY"):
        answer = caller.call(method, path)
        assert (answer.status_code, "GET" in answer.headers["Allow"]) == (405, True), method


@pytest.mark.parametrize(("kind", "status"), [("json", 200), ("yaml", 200), ("", 422), ("xml", 404)])
def test_the_document_comes_in_a_format_that_there_is(caller: Caller, kind: str, status: int) -> None:
    assert caller.get("/api/v1/schema", format=kind).status_code == status
