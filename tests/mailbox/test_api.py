"""The mailbox by REST: the shapes, the scopes, the project wall, and a clear refusal for everything hostile."""

from __future__ import annotations

import base64
import gzip
import json
from typing import Any
from uuid import UUID, uuid4

import pytest

from accounts import scopes
from mailbox import addresses, delivery, quarantine
from mailbox.addresses import session_address
from mailbox.models import Message, Quarantined
from tests.mailbox.conftest import task
from tests.mailbox.faces import Caller, Server

pytestmark = pytest.mark.django_db
DESK = "/api/v1/mailboxes/desk"
GOOD = {"id": "one", "message_kind": "task", "body": "do it"}


def test_deliver_drain_ack(caller: Caller) -> None:
    sent = caller.post(f"{DESK}/messages", GOOD | {"from": {"session_id": str(uuid4()), "role": "boss"}})
    assert (sent.status_code, sent.json()) == (201, {"id": "one", "address": "desk", "seq": 1})
    claim = caller.post(f"{DESK}/drain", {"limit": 10, "lease_secs": 30, "consumer": "me"}).json()
    message = claim["messages"][0]
    assert {"id", "message_kind", "from", "body", "correlation_id", "created_at", "address", "tries", "state"} <= set(
        message
    )
    assert (message["state"], message["tries"], message["from"]["role"]) == ("claimed", 1, "boss")
    assert message["from"]["claimed"] is True
    acked = caller.post(f"{DESK}/ack", {"claim": claim["claim"], "ids": ["one", "two"]})
    assert acked.json() == {"acked": ["one"], "unknown": ["two"]}
    counts = caller.get(DESK).json()
    assert counts == {"new": 0, "claimed": 0, "admitted": 1, "quarantined": 0, "oldest_age_secs": None}


@pytest.mark.parametrize("claimed", ["parent", "planner 7 \u2066\u00e9", "x" * 256, str(uuid4()).upper()])
def test_a_sender_is_whatever_it_calls_itself_and_shown_as_claimed(caller: Caller, claimed: Any) -> None:
    sender = {"session_id": claimed, "role": "boss"}
    assert caller.post(f"{DESK}/messages", GOOD | {"from": sender}).status_code == 201
    [shown] = caller.get(f"{DESK}/messages").json()["results"]
    [drained] = caller.post(f"{DESK}/drain", {}).json()["messages"]
    assert shown["from"] == drained["from"] == sender | {"claimed": True}
    # It can be handed on as it is, and is then the same message.
    assert caller.post(f"{DESK}/messages", GOOD | {"from": drained["from"]}).status_code == 201


def test_the_same_message_again_gets_the_same_answer(caller: Caller) -> None:
    first, again = caller.post(f"{DESK}/messages", GOOD), caller.post(f"{DESK}/messages", GOOD)
    assert (again.status_code, again.json()) == (first.status_code, first.json())
    other = caller.post(f"{DESK}/messages", GOOD | {"body": "something else"})
    assert (other.status_code, other.json()["type"]) == (409, "conflict")
    assert other.headers["Content-Type"] == "application/problem+json"


def test_many_at_once_are_checked_one_by_one(caller: Caller) -> None:
    many = [GOOD, {"message_kind": "gossip"}, GOOD, GOOD | {"body": "other"}, "text", {"id": "z", "message_kind": 3}]
    answer = caller.post(f"{DESK}/messages", {"messages": many})
    assert answer.status_code == 200
    results = answer.json()["results"]
    assert [(each["id"], each["status"]) for each in results] == [
        ("one", 201),
        (None, 422),
        ("one", 201),
        ("one", 409),
        (None, 422),
        (None, 422),
    ]
    assert [each["problem"]["type"] for each in results if "problem" in each] == [
        "invalid",
        "conflict",
        "invalid",
        "invalid",
    ]
    assert Message.objects.count() == 1


def test_nack_recover_extend(caller: Caller) -> None:
    delivery_ids = ["a", "b"]
    for id in delivery_ids:
        caller.post(f"{DESK}/messages", GOOD | {"id": id})
    claim = caller.post(f"{DESK}/drain", {"consumer": "me"}).json()["claim"]
    nacked = caller.post(f"{DESK}/nack", {"claim": claim, "ids": ["a"], "delay_secs": 60}).json()
    assert nacked == {"nacked": ["a"], "unknown": []}
    assert caller.post(f"{DESK}/extend", {"claim": claim}).json()["ids"] == ["b"]
    new = caller.post(f"{DESK}/recover", {"consumer": "me", "lease_secs": 5}).json()
    assert [each["id"] for each in new["messages"]] == ["b"]
    assert caller.post(f"{DESK}/ack", {"claim": claim, "ids": ["b"]}).json()["unknown"] == ["b"]
    assert caller.post(f"{DESK}/extend", {"claim": claim}).json() == {
        "claim": None,
        "lease_expires_at": None,
        "ids": [],
    }


def test_nothing_to_claim_is_no_claim(caller: Caller) -> None:
    assert caller.post(f"{DESK}/drain", {}).json() == {"claim": None, "lease_expires_at": None, "messages": []}


def test_messages_can_be_looked_at_page_by_page(caller: Caller, project: UUID) -> None:
    delivery.deliver(project, "desk", [task(str(n)) for n in range(3)])
    first = caller.get(f"{DESK}/messages", limit=2).json()
    rest = caller.get(f"{DESK}/messages", limit=2, cursor=first["next"]).json()
    assert [each["body"] for each in first["results"] + rest["results"]] == ["0", "1", "2"]
    assert caller.get(f"{DESK}/messages", state="claimed").json()["results"] == []
    assert caller.get(f"{DESK}/messages", state="lost").status_code == 422


def test_a_page_of_messages_ends_at_its_bytes_and_has_at_least_one(caller: Caller, project: UUID, timings: Any) -> None:
    timings(max_page_bytes=100_000)
    sizes = [30_000, 60_000, 20_000, 150_000, 1, 1]
    delivery.deliver(project, "desk", [task("x" * size, id=str(place)) for place, size in enumerate(sizes)])
    pages, cursor = [], ""
    while cursor is not None:
        page = caller.get(f"{DESK}/messages?limit=200&cursor={cursor}").json()
        pages.append([row["id"] for row in page["results"]])
        cursor = page["next"]
    assert pages == [["0", "1"], ["2"], ["3"], ["4", "5"]]


def test_a_list_of_quarantine_shows_the_beginning_of_each_and_reads_no_more(caller: Caller, project: UUID) -> None:
    quarantine.put(project, b"x" * 500_000, "amqp", "odd", size=5_000_000)
    quarantine.put(project, b"short", "amqp", "odd")
    found = caller.get("/api/v1/quarantine").json()["results"]
    assert [(len(base64.b64decode(row["raw"])), row["raw_is_whole"], row["size"]) for row in found] == [
        (4096, False, 5_000_000),
        (5, True, 5),
    ]
    whole = caller.get(f"/api/v1/quarantine/{found[0]['id']}").json()
    assert (len(base64.b64decode(whole["raw"])), whole["raw_is_whole"]) == (500_000, False)


def test_a_sessions_mailbox_takes_messages_and_lets_nobody_read(caller: Caller) -> None:
    address = f"/api/v1/mailboxes/{session_address(uuid4())}"
    assert caller.post(f"{address}/messages", GOOD).status_code == 201
    assert caller.get(address).json()["new"] == 1
    for call, body in (
        ("drain", {}),
        ("recover", {}),
        ("ack", {"claim": str(uuid4()), "ids": ["one"]}),
        ("nack", {"claim": str(uuid4()), "ids": ["one"]}),
        ("extend", {"claim": str(uuid4())}),
    ):
        answer = caller.post(f"{address}/{call}", body)
        assert (answer.status_code, answer.json()["type"]) == (403, "reserved-address"), call


CALLS = [
    ("GET", DESK, "mailboxes:read"),
    ("GET", f"{DESK}/messages", "mailboxes:read"),
    ("POST", f"{DESK}/messages", "mailboxes:write"),
    *[
        ("POST", f"{DESK}/{operation}", "mailboxes:write")
        for operation in ("drain", "ack", "nack", "recover", "extend")
    ],
    ("GET", f"{DESK}/asks/one", "mailboxes:read"),
    ("POST", f"{DESK}/reply", "mailboxes:write"),
    ("GET", "/api/v1/quarantine", "quarantine:read"),
    ("GET", f"/api/v1/quarantine/{uuid4()}", "quarantine:read"),
    ("POST", f"/api/v1/quarantine/{uuid4()}/requeue", "quarantine:write"),
    ("POST", f"/api/v1/quarantine/{uuid4()}/discard", "quarantine:write"),
]


@pytest.mark.parametrize(("method", "path", "scope"), CALLS)
def test_each_call_needs_its_scope_and_no_child_may_make_it(
    face: Server, project: UUID, method: Any, path: Any, scope: Any
) -> None:
    def status(**mint: Any) -> Any:
        caller = Caller(face, project, **mint)
        return (caller.get(path) if method == "GET" else caller.post(path, {})).status_code

    others = [name for name in scopes.ALL if name not in (scope, "admin")]
    assert status(scopes=others) == 403
    assert status(kind="child", subject=str(uuid4()), attempt=1) == 403
    assert status(scopes=[scope]) in (200, 404, 422)
    assert Caller(face, project).call(method, path, b"{}", Authorization="").status_code == 401


def test_what_is_foreign_cannot_be_named_read_or_settled(caller: Caller, stranger: Caller, project: UUID) -> None:
    caller.post(f"{DESK}/messages", GOOD)
    claim = caller.post(f"{DESK}/drain", {}).json()["claim"]
    row = quarantine.put(project, b"{", "amqp", "cut off")
    assert stranger.get(DESK).json()["claimed"] == 0
    assert stranger.get(f"{DESK}/messages").json()["results"] == []
    assert stranger.post(f"{DESK}/drain", {}).json()["messages"] == []
    assert stranger.post(f"{DESK}/ack", {"claim": claim, "ids": ["one"]}).json()["unknown"] == ["one"]
    assert stranger.get("/api/v1/quarantine").json()["results"] == []
    for call in (
        stranger.get(f"/api/v1/quarantine/{row.pk}"),
        stranger.post(f"/api/v1/quarantine/{row.pk}/requeue", {}),
        stranger.post(f"/api/v1/quarantine/{row.pk}/discard", {"note": "x"}),
    ):
        assert call.status_code == 404


@pytest.mark.parametrize(
    ("call", "body"),
    [
        (f"{DESK}/messages", GOOD),
        (f"{DESK}/messages", {"messages": [GOOD]}),
        (f"{DESK}/drain", {}),
        (f"{DESK}/recover", {}),
        (f"{DESK}/ack", {"claim": str(uuid4()), "ids": []}),
        (f"{DESK}/nack", {"claim": str(uuid4()), "ids": []}),
        (f"{DESK}/extend", {"claim": str(uuid4())}),
        (f"{DESK}/reply", {"ask_id": "q", "answer": 1}),
        (f"/api/v1/quarantine/{uuid4()}/requeue", {}),
        (f"/api/v1/quarantine/{uuid4()}/discard", {"note": "x"}),
    ],
)
def test_a_field_that_a_call_does_not_know_is_named_and_nothing_is_done(caller: Caller, call: str, body: Any) -> None:
    caller.post(f"{DESK}/messages", GOOD | {"id": "before"})
    answer = caller.post(call, body | {"limt": 3})
    assert (answer.status_code, [each["field"] for each in answer.json()["errors"]]) == (422, ["limt"])
    assert [(row.message_id, row.state) for row in Message.objects.all()] == [("before", "new")]
    assert caller.post(call, body | {"limt": None}).status_code in (200, 201, 404)


def test_a_whole_number_may_be_written_with_a_decimal_point(caller: Caller) -> None:
    assert caller.post(f"{DESK}/drain", {"limit": 1.0}).status_code == 200
    assert caller.post(f"{DESK}/drain", {"limit": 1.5}).status_code == 422


def test_the_sender_of_a_drained_message_can_be_handed_on_as_it_is(caller: Caller) -> None:
    caller.post(f"{DESK}/messages", GOOD | {"from": {"role": "boss"}})
    (drained,) = caller.post(f"{DESK}/drain", {}).json()["messages"]
    assert drained["from"]["claimed"] is True
    onward = caller.post("/api/v1/mailboxes/other/messages", GOOD | {"id": "2", "from": drained["from"]})
    assert onward.status_code == 201


HOSTILE = {
    "cut off": b'{"message_kind": "task", "body": "x',
    "deep": b'{"message_kind": "task", "body": ' + b"[" * 5000 + b"]" * 5000 + b"}",
    "a wall": b"[" * 100_000,
    "huge": b'{"message_kind": "task", "body": "' + b"x" * 300_000 + b'"}',
    "enormous": b'{"message_kind": "task", "body": "' + b"x" * 3_000_000 + b'"}',
    "wrong encoding": b'{"message_kind": "task", "body": "\xff\xfe"}',
    "utf-16": '{"message_kind": "task", "body": "x"}'.encode("utf-16"),
    "twice a key": b'{"message_kind": "task", "body": "a", "body": "b"}',
    "NaN": b'{"message_kind": "task", "body": {"x": NaN}}',
    "infinity": b'{"message_kind": "task", "body": {"x": 1e999}}',
    "NUL": b'{"message_kind": "task", "body": "a\\u0000b"}',
    "raw NUL": b'{"message_kind": "task", "body": "a\x00b"}',
    "lone surrogate": b'{"message_kind": "task", "body": "\\ud800"}',
    "a list": b"[]",
    "a number": b"7",
    "nothing": b"",
    "no kind": b'{"body": "x"}',
    "a kind of another type": b'{"message_kind": ["task"], "body": "x"}',
    "an internal kind": b'{"message_kind": "completion", "body": {}}',
    "an id of another type": b'{"id": 7, "message_kind": "task", "body": "x"}',
    "a long id": b'{"id": "' + b"x" * 257 + b'", "message_kind": "task", "body": "x"}',
    "a sender of another type": b'{"from": "me", "message_kind": "task", "body": "x"}',
    "a session of another type": b'{"from": {"session_id": 7}, "message_kind": "task", "body": "x"}',
    "a session of a long name": b'{"from": {"session_id": "' + b"x" * 257 + b'"}, "message_kind": "task", "body": "x"}',
    "a time that is none": b'{"created_at": "soon", "message_kind": "task", "body": "x"}',
    "a time without a zone": b'{"created_at": "2026-01-01T00:00:00", "message_kind": "task", "body": "x"}',
    "a time before time": b'{"created_at": "0001-01-01T00:00:00+14:00", "message_kind": "task", "body": "x"}',
    "no messages": b'{"messages": []}',
    "messages of another type": b'{"messages": "x"}',
}


@pytest.mark.parametrize("raw", HOSTILE.values(), ids=HOSTILE)
def test_a_hostile_body_gets_a_clear_refusal_and_is_not_kept(caller: Caller, raw: Any) -> None:
    answer = caller.post(f"{DESK}/messages", raw=raw)
    assert answer.status_code in (413, 422)
    assert answer.json()["detail"]
    assert answer.json()["type"] in ("invalid", "too-large")
    assert not Message.objects.exists()
    assert not Quarantined.objects.exists()


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"Content_Type": "application/json; charset=utf-8"}, 201),
        ({"Content_Type": "Application/JSON"}, 201),
        ({"Content_Type": ""}, 415),
        ({"Content_Type": "text/plain"}, 415),
        ({"Content_Type": "application/x-www-form-urlencoded"}, 415),
        ({"Content_Type": "application/json, text/plain"}, 415),
        ({"Content_Type": "nonsense"}, 415),
        ({"Content_Type": "text/plain", "Authorization": "Bearer wr_key_x"}, 401),
        ({"Authorization": "Basic eDp5"}, 401),
    ],
)
def test_only_json_is_read_and_only_from_who_is_known(caller: Caller, headers: Any, status: int) -> None:
    answer = caller.post(f"{DESK}/messages", GOOD, **headers)
    assert answer.status_code == status
    assert status == 201 or answer.headers["Content-Type"] == "application/problem+json"
    assert (answer.headers.get("WWW-Authenticate") == "Bearer") is (status == 401)
    assert (answer.headers.get("Accept") == "application/json") is (status == 415)
    assert status != 415 or answer.json()["detail"].endswith("Send application/json.")


def test_a_compressed_body_is_refused_by_name(caller: Caller) -> None:
    answer = caller.post(f"{DESK}/messages", raw=gzip.compress(json.dumps(GOOD).encode()), Content_Encoding="gzip")
    assert (answer.status_code, answer.json()["type"]) == (415, "unsupported-encoding")
    assert answer.headers["Accept-Encoding"] == "identity"


@pytest.mark.parametrize("method", ["PUT", "PATCH", "DELETE"])
def test_other_methods_are_not_allowed(caller: Caller, method: str) -> None:
    answer = caller.call(method, f"{DESK}/messages", b"{}")
    assert (answer.status_code, answer.headers["Allow"]) == (405, "GET, POST, HEAD, OPTIONS")


def test_what_stands_beside_the_address_is_not_found(caller: Caller) -> None:
    for path in (f"{DESK}/messages/", f"{DESK}/messages/x", f"{DESK}%2Fx/messages", "/api/v1/mailboxes//messages"):
        assert caller.post(path, GOOD).status_code == 404, path


@pytest.mark.parametrize("address", ["session:x", "a%20b", "%00", "%E2%80%AE", "x" * 201])
def test_a_hostile_address_gets_a_clear_refusal(caller: Caller, address: str) -> None:
    path = f"/api/v1/mailboxes/{address}"
    assert caller.get(path).status_code == 422
    assert caller.post(f"{path}/messages", GOOD).status_code == 422
    assert caller.post(f"{path}/drain", {}).status_code == 422


@pytest.mark.parametrize(
    ("call", "body", "field"),
    [
        ("drain", {"limit": 0}, "limit"),
        ("drain", {"limit": 1001}, "limit"),
        ("drain", {"limit": "5"}, "limit"),
        ("drain", {"limit": True}, "limit"),
        ("drain", {"lease_secs": 0}, "lease_secs"),
        ("drain", {"lease_secs": 10**9}, "lease_secs"),
        ("drain", {"consumer": 7}, "consumer"),
        ("drain", [], ""),
        ("ack", {}, "claim"),
        ("ack", {"claim": "x", "ids": "one"}, "ids"),
        ("ack", {"claim": "x", "ids": [1]}, "ids[0]"),
        ("nack", {"claim": "x", "ids": [], "delay_secs": -1}, "delay_secs"),
        ("recover", {"consumer": "x" * 257}, "consumer"),
    ],
)
def test_a_wrong_order_names_its_field(caller: Caller, call: str, body: Any, field: str) -> None:
    answer = caller.post(f"{DESK}/{call}", body)
    assert answer.status_code == 422
    assert answer.json()["errors"][0]["field"] == field


def test_quarantine_by_rest(caller: Caller, project: UUID) -> None:
    row = quarantine.put(project, b'{"message_kind": "task"', "amqp", "cut off", position=23, address="desk")
    listed = caller.get("/api/v1/quarantine", state="waiting", source="amqp").json()["results"]
    assert [(each["id"], each["reason"], each["position"]) for each in listed] == [(str(row.pk), "cut off", 23)]
    path = f"/api/v1/quarantine/{row.pk}"
    assert caller.post(f"{path}/requeue", {}).status_code == 422
    mended = caller.post(f"{path}/requeue", {"message": GOOD})
    again = caller.post(f"{path}/requeue", {"message": GOOD})
    assert (mended.status_code, mended.json()["state"]) == (200, "requeued")
    assert again.json() == mended.json()
    assert caller.post(f"{path}/discard", {"note": "late"}).status_code == 409
    assert caller.get(path).json()["settled_by"].startswith("key:")
    assert caller.get(DESK).json()["new"] == 1
    assert caller.get("/api/v1/quarantine", state="x").status_code == 422
    assert caller.get("/api/v1/quarantine", source="\0").status_code == 422


def test_a_discard_needs_its_note(caller: Caller, project: UUID) -> None:
    row = quarantine.put(project, b"{", "amqp", "cut off")
    assert caller.post(f"/api/v1/quarantine/{row.pk}/discard", {}).status_code == 422
    assert caller.post(f"/api/v1/quarantine/{row.pk}/discard", {"note": "spam"}).json()["state"] == "discarded"


def test_where_sessions_are_known_one_that_is_not_there_takes_no_message(
    caller: Caller, project: UUID, monkeypatch: pytest.MonkeyPatch
) -> None:
    here = uuid4()
    monkeypatch.setattr(addresses, "_has_session", lambda of, session: (of, session) == (project, here))
    for session, status in ((here, 201), (uuid4(), 404)):
        path = f"/api/v1/mailboxes/{session_address(session)}/messages"
        assert caller.post(path, GOOD | {"id": str(session)}).status_code == status
    assert Message.objects.count() == 1
