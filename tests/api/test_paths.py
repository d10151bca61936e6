"""An id in a path is found in every form that RFC 9562 allows, and any other text is refused or unknown."""

from __future__ import annotations

from urllib.parse import quote
from uuid import UUID

import pytest
from django.urls import resolve

from accounts import projects
from accounts.actors import Actor
from config import urls
from mailbox import quarantine
from orchestration.models import Session
from orchestration.sessions import spawn
from orchestration.sessions.spawn import SpawnOrder
from tests.adminsite.planting import staff
from tests.api import odd
from tests.mailbox.faces import Caller, Server

pytestmark = pytest.mark.django_db

ACTION = {"request_id": "r", "tool_name": "shell", "permission": "execute", "resource": "ls"}
#: Ids with every character that means something in an address.
IDS = [
    "a/b",
    "/",
    "a//b",
    "..a",
    "a/../b",
    "a b",
    "a?b",
    "a#b",
    "a%2Fb",
    "a%b",
    "a+b",
    "a&b=c",
    "ä",
    "日本",
    "a\\b",
    ";",
]


def spawned() -> Session:
    order = SpawnOrder(assignment="x", runner="external")
    return spawn.spawn(projects.default(), order, Actor.system("tests")).session


def written(identifier: object) -> list[str]:
    plain = UUID(str(identifier))
    return [str(plain).upper(), plain.hex, plain.hex.upper()]


def test_a_uuid_in_upper_case_or_without_dashes_is_found(caller: Caller) -> None:
    session, row = spawned(), quarantine.put(projects.default().pk, b"{", "amqp", "cut off")
    asked = caller.post("/api/v1/approvals", ACTION).json()
    for one in written(session.pk):
        for rest in ("", "/tree", "/attempts", "/history", "/events"):
            assert caller.get(f"/api/v1/sessions/{one}{rest}").status_code == 200, (one, rest)
        assert caller.post(f"/api/v1/sessions/{one}/token", {}).status_code == 201
        assert caller.get("/api/v1/sessions", parent=one).status_code == 200
    for one in written(asked["id"]):
        assert caller.get(f"/api/v1/approvals/{one}").json()["id"] == asked["id"]
    for one in written(row.pk):
        assert caller.get(f"/api/v1/quarantine/{one}").status_code == 200


def test_what_only_resembles_a_uuid_is_not_found(caller: Caller) -> None:
    one = str(spawned().pk)
    for other in (f"{{{one}}}", f"urn:uuid:{one}", one + "0", one[:-1], "\u0660" + one[1:]):
        assert caller.get(f"/api/v1/sessions/{quote(other)}").status_code == 404, other


@pytest.mark.django_db(transaction=True)
def test_the_mailbox_of_a_session_is_found_by_such_a_uuid_too(far: Caller) -> None:
    session = spawned()
    for number, one in enumerate([str(session.pk), *written(session.pk)]):
        path = f"/api/v1/mailboxes/session:{one}"
        sent = far.post(f"{path}/messages", {"id": f"m{number}", "message_kind": "task", "body": "x"})
        assert (sent.status_code, sent.json()["address"]) == (201, session.address), sent.content
        assert far.get(path).json()["new"] == number + 1
        listed = far.get(f"{path}/messages").json()["results"]
        assert [row["address"] for row in listed] == [session.address] * (number + 1)
        assert far.post(f"{path}/drain", {}).json()["type"] == "reserved-address"
    # The same id at the same mailbox is the same message, however the address is written.
    again = far.post(
        f"/api/v1/mailboxes/session:{session.pk.hex}/messages", {"id": "m0", "message_kind": "task", "body": "x"}
    )
    assert again.json()["seq"] == 1


def test_what_is_no_uuid_after_session_is_refused_with_what_has_to_follow(caller: Caller) -> None:
    for wrong in ("abc", f"{{{odd.NEVER}}}"):
        answer = caller.get(f"/api/v1/mailboxes/session:{quote(wrong)}")
        assert answer.status_code == 422
        assert answer.json()["errors"] == [
            {"field": "address", "detail": "session: is reserved: the UUID of a session has to follow"}
        ]


@pytest.mark.django_db(transaction=True)
def test_calls_before_django_deliver_to_such_a_uuid_too(far: Caller) -> None:
    session = spawned()
    for number, one in enumerate(written(session.pk)):
        body = {"id": f"m{number}", "message_kind": "task", "body": "x"}
        sent = far.post(f"/api/v1/mailboxes/session:{one}/messages", body)
        assert (sent.status_code, sent.json()["address"]) == (201, session.address), sent.text
    assert far.get(f"/api/v1/mailboxes/{session.address}").json()["new"] == 3


@pytest.mark.django_db(transaction=True)
def test_calls_before_django_find_such_a_uuid_too(far: Caller) -> None:
    session = spawned()
    ask = far.post(f"/api/v1/sessions/{session.pk.hex.upper()}/ask", {"question": "?", "timeout_secs": 0}).json()
    for one in written(session.pk):
        assert far.get(f"/api/v1/sessions/{one}/asks/{ask['ask_id']}").status_code == 200


def test_pages_of_the_admin_find_such_a_uuid_too(client: object, caller: Caller) -> None:
    session = spawned()
    client.force_login(staff("member", projects.default()))  # type: ignore[attr-defined]
    for one in written(session.pk):
        for page in ("change/", "body/"):
            address = f"/admin/orchestration/session/{one}/{page}"
            assert client.get(address).status_code == 200, address  # type: ignore[attr-defined]


def test_the_same_key_is_the_same_call_however_the_id_is_written(caller: Caller) -> None:
    session = spawned()
    answers = [
        caller.post(f"/api/v1/sessions/{one}/cancel", {}, Idempotency_Key="k")
        for one in (str(session.pk), *written(session.pk))
    ]
    assert [answer.headers.get("Idempotency-Replayed") for answer in answers] == [None, "true", "true", "true"]


@pytest.mark.django_db(transaction=True)
def test_a_web_process_finds_an_ask_by_its_id_whatever_it_holds(server: Server, far: Caller) -> None:
    for name in IDS:
        ask = {"id": name, "message_kind": "ask", "body": {"question": "why?", "mode": "query"}}
        assert far.post("/api/v1/mailboxes/desk/messages", ask).status_code == 201
        found = far.get(f"/api/v1/mailboxes/desk/asks/{quote(name, safe='')}")
        assert (found.status_code, found.json().get("ask_id")) == (200, name)


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("name", [".", ".."])
def test_an_id_that_no_address_carries_is_refused_where_an_ask_comes_in(far: Caller, name: str) -> None:
    ask = {"id": name, "message_kind": "ask", "body": {"question": "why?", "mode": "query"}}
    answer = far.post("/api/v1/mailboxes/desk/messages", ask)
    assert (answer.status_code, answer.json()["errors"][0]["field"]) == (422, "id")


@pytest.mark.parametrize(
    "path",
    [
        "sessions/x",
        "sessions/x/cancel",
        "sessions/x/ask",
        "sessions/x/attempts/1/alive",
        f"sessions/{odd.NEVER}0",
        "approvals/x/decide",
        "approvals/x/wait",
        "quarantine/x/requeue",
    ],
)
def test_a_malformed_id_is_a_404_that_says_what_an_id_looks_like(caller: Caller, path: str) -> None:
    for answer in (caller.get(f"/api/v1/{path}"), caller.post(f"/api/v1/{path}", {})):
        assert (answer.status_code, answer.json()["type"]) == (404, "not-found")
        assert "must be a UUID, as 123e4567-e89b-12d3-a456-426614174000" in answer.json()["detail"]


@pytest.mark.parametrize(
    "path", ["nothing", f"sessions/{odd.NEVER}/nothing", "mailboxes", "nothing/x", "", "sessions/"]
)
def test_an_address_without_a_malformed_id_says_nothing_of_ids(caller: Caller, path: str) -> None:
    answer = caller.get(f"/api/v1/{path}")
    assert (answer.status_code, answer.json()["detail"]) == (404, "There is nothing at this address.")


def test_a_long_address_is_looked_up_no_oftener_than_a_short_one(
    caller: Caller, monkeypatch: pytest.MonkeyPatch
) -> None:
    looked_up = []
    monkeypatch.setattr(urls, "resolve", lambda path: looked_up.append(path) or resolve(path))
    assert caller.get("/api/" + "a/" * 1000).status_code == 404
    assert 0 < len(looked_up) < 10
