"""The rights to ask a session, to answer, and to read the answer, and invalid questions."""

from __future__ import annotations

import json
import time
import uuid
from collections.abc import Callable
from typing import Any

import httpx
import pytest

from accounts import projects
from accounts.models import Project
from core.limits import LIMITS
from mailbox import addresses, questions
from mailbox.models import Message
from orchestration.connections import messages as connection_messages
from orchestration.connections.fencing import Claim, ConnectionRejected, Principal
from orchestration.sessions import lifecycle
from orchestration.sessions import spawn as session_spawn
from tests.orchestration.connections.callers import Asker, Caller, asker, caller, pending, refusal, reply, standing
from tests.orchestration.connections.conftest import TESTS, Server, Spawn
from wardroom.protocol import Send

__all__ = ["asker", "caller"]

# --- who may ------------------------------------------------------------------------------------------------------


def test_what_is_foreign_or_unknown_is_not_there(child: Spawn, asker: Caller, caller: Asker) -> None:
    elsewhere = Project.objects.create(slug="elsewhere")
    foreign = session_spawn.spawn(
        elsewhere, session_spawn.SpawnOrder(assignment="x", runner="external"), TESTS
    ).session.pk
    theirs = pending(caller(project=elsewhere), foreign)
    mine = pending(asker, child.id)
    answers = [asker.ask(foreign), asker.ask(uuid.uuid4()), asker.look(foreign, theirs), asker.look(child.id, theirs)]
    answers += [asker.look(child.id, name) for name in ("unknown", "wardroom:ask:x", "%00", "%ff", "x" * 300)]
    answers += [caller(project=elsewhere).look(child.id, mine), asker.look(foreign, mine)]
    assert {(refusal(each), each.json()["detail"]) for each in answers} == {
        ((404, "not-found"), "There is nothing here by that id.")
    }
    assert refusal(asker.look(child.id, "a%0Ab")) == (404, "not-found")


def test_scopes_and_tokens(server: Server, child: Spawn, asker: Caller, caller: Asker) -> None:
    assert refusal(caller("sessions:read").ask(child.id)) == (403, "forbidden")
    assert refusal(caller("mailboxes:write").look(child.id, "x")) == (403, "forbidden")
    assert refusal(caller(token="wr_key_unknown").ask(child.id)) == (401, "unauthenticated")
    assert refusal(caller(token="wr_key_unknown").look(child.id, "x")) == (401, "unauthenticated")
    ask_id = pending(caller("sessions:write"), child.id)
    assert standing(caller("sessions:read").look(child.id, ask_id)) == ("pending", None)
    assert standing(caller("admin").look(child.id, ask_id)) == ("pending", None)
    # A cookie is nobody: there is nothing to forge.
    url = f"http://127.0.0.1:{server.port}/api/v1/sessions/{child.id}/ask"
    assert httpx.post(url, json={"question": "?"}, cookies={"sessionid": "x"}).status_code == 401


def test_a_childs_token_asks_what_is_below_it(
    server: Server, caller: Asker, asker: Caller, spawn: Callable[..., Spawn]
) -> None:
    parent = spawn()
    lifecycle.started(parent.id, 1)
    child = spawn(parent=parent.id)
    above, below = caller(token=parent.token), caller(token=child.token)
    with server.child(child) as peer:
        held = above.asks(child.id)
        message = peer.hear("message")
        assert message["from"] == {"session_id": str(parent.id)}
        reply(peer, message, "to the caller")
        assert standing(held.result(10)) == ("answered", "to the caller")
        assert standing(above.look(child.id, message["id"])) == ("answered", "to the caller")
    assert not Message.objects.filter(address__name=parent.session.address).exists(), "it is not told twice"
    assert refusal(below.ask(child.id)) == (403, "forbidden")
    assert refusal(below.ask(parent.id)) == (404, "not-found")
    assert refusal(below.look(child.id, message["id"])) == (404, "not-found")
    assert refusal(above.look(child.id, pending(asker, child.id))) == (404, "not-found"), "somebody else asked"
    assert refusal(caller(token=spawn().token).ask(child.id)) == (404, "not-found")


def test_only_the_one_who_was_asked_can_answer(
    server: Server, child: Spawn, asker: Caller, caller: Asker, spawn: Callable[..., Spawn]
) -> None:
    ask_id = pending(asker, child.id)
    stranger = spawn(parent=child.id)
    forged = {"message_kind": "reply", "body": {"answer": "forged"}, "correlation_id": ask_id}
    with server.child(stranger) as peer:
        about = {"correlation_id": ask_id}
        assert reply(peer, about, "forged")["code"] == "invalid"
        assert reply(peer, about, "forged", to=addresses.ANSWERS)["code"] == "forbidden"
        assert reply(peer, about, "forged", to=addresses.ANSWERS, message_kind="task")["code"] == "forbidden"
    key = caller("admin")
    answer_id = questions.answer_id(projects.default().pk, ask_id)
    for address in ("wardroom:answers", "wardroom:anything"):
        assert refusal(key.post(f"/mailboxes/{address}/messages", forged)) == (403, "reserved-address")
        many = key.post(f"/mailboxes/{address}/messages", {"messages": [forged]})
        assert refusal(many) == (403, "reserved-address")
        ack = {"claim": str(uuid.uuid4()), "ids": [answer_id]}
        for operation, body in (("drain", {}), ("recover", {}), ("ack", ack)):
            assert refusal(key.post(f"/mailboxes/{address}/{operation}", body)) == (403, "reserved-address")
    assert refusal(key.post("/mailboxes/desk/messages", {**forged, "id": answer_id})) == (422, "invalid")
    assert key.send(child.id, **forged).status_code == 202, "a message, and no answer"
    assert standing(asker.look(child.id, ask_id)) == ("pending", None)


def test_an_older_attempt_cannot_answer(server: Server, child: Spawn, asker: Caller) -> None:
    ask_id = pending(asker, child.id)
    with server.child(child) as old:
        message = old.hear("message")
        lifecycle.finish(child.id, 1, "error")
        lifecycle.retry(projects.default(), child.id, TESTS)
        old.say("send", id="r", message_kind="reply", body={"answer": "stale"}, correlation_id=message["id"])
        assert old.code() in (4409, 4410)
    assert standing(asker.look(child.id, ask_id)) == ("pending", None)


def test_a_connection_that_was_replaced_cannot_answer(server: Server, child: Spawn, asker: Caller) -> None:
    ask_id = pending(asker, child.id)
    frame = Send(id="r", message_kind="reply", body={"answer": "stale"}, correlation_id=ask_id)
    holder = Principal(projects.default().pk, child.id, 1, child.token)
    with server.child(child):
        for connection in (0, 2):
            with pytest.raises(ConnectionRejected):
                connection_messages.send(Claim(holder, connection), frame)
        assert standing(asker.look(child.id, ask_id)) == ("pending", None)
        assert connection_messages.send(Claim(holder, 1), frame) == "pending"
    assert standing(asker.look(child.id, ask_id)) == ("answered", "stale")


def test_a_role_cannot_name_wardrooms_own_address(
    server: Server, spawn: Callable[..., Spawn], timings: Any, settings: Any
) -> None:
    timings(roles={**LIMITS.roles, "clerk": {"addresses": [addresses.ANSWERS]}})
    with server.child(spawn(role="clerk")) as peer:
        assert reply(peer, {"correlation_id": "x"}, "forged", to=addresses.ANSWERS)["code"] == "reserved-address"


def test_an_ask_is_answered_by_a_reply_and_by_no_other_kind(server: Server, child: Spawn, asker: Caller) -> None:
    ask_id = pending(asker, child.id)
    with server.child(child) as peer:
        refused = reply(peer, peer.hear("message"), "x", message_kind="task")
        assert (refused["code"], refused["kind"]) == ("invalid", "error")
    assert standing(asker.look(child.id, ask_id)) == ("pending", None)


def test_an_ask_with_anothers_correlation_id_does_not_get_its_answer(
    server: Server, child: Spawn, asker: Caller
) -> None:
    for name in ("first", "twin"):
        ask = {"message_kind": "ask", "body": {"question": "me too"}, "correlation_id": "first", "id": name}
        assert asker.send(child.id, **ask).status_code == 202
    with server.child(child) as peer:
        reply(peer, peer.hear("message"), "for the first")
    assert standing(asker.look(child.id, "first")) == ("answered", "for the first")
    assert standing(asker.look(child.id, "twin")) == ("pending", None)


def test_an_ask_that_was_sent_as_a_message_is_answered_too(server: Server, child: Spawn, asker: Caller) -> None:
    claimed = {"session_id": str(child.id), "role": "boss"}
    with server.child(child) as peer:
        for name, more in (("plain", {}), ("claimed", {"from": claimed})):
            ask = {"message_kind": "ask", "body": {"question": "?"}, "id": name, "correlation_id": f"c-{name}"}
            asker.send(child.id, **ask, **more)
            assert reply(peer, peer.hear("message"), name)["kind"] == "send_ack"
            assert standing(asker.look(child.id, name)) == ("answered", name)


def test_an_ask_between_sessions_is_answered_in_the_mailbox_alone(
    server: Server, asker: Caller, spawn: Callable[..., Spawn]
) -> None:
    parent = spawn()
    lifecycle.started(parent.id, 1)
    child = spawn(parent=parent.id)
    with server.child(parent) as above, server.child(child) as peer:
        above.say("send", id="q", to=str(child.id), message_kind="ask", body={"question": "why?"}, correlation_id="c")
        above.hear("send_ack")
        reply(peer, peer.hear("message"), "because")
        assert above.hear("message")["body"] == {"answer": "because"}
    assert refusal(asker.look(child.id, "q")) == (404, "not-found")


# --- what is no question --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({}, "question"),
        ({"question": ""}, "question"),
        ({"question": " \n"}, "question"),
        ({"question": 7}, "question"),
        ({"question": "x" * 65_537}, "question"),
        ({"question": "é" * 32_769}, "question"),
        ({"question": "?", "mode": "shout"}, "mode"),
        ({"question": "?", "mode": 1}, "mode"),
        ({"question": "?", "timeout_secs": -1}, "timeout_secs"),
        ({"question": "?", "timeout_secs": 301}, "timeout_secs"),
        ({"question": "?", "timeout_secs": "5"}, "timeout_secs"),
        ({"question": "?", "timeout_secs": True}, "timeout_secs"),
        ({"question": "?", "qestion": "typo"}, "qestion"),
        ([], ""),
        ("?", ""),
    ],
)
def test_a_bad_question_is_refused_by_field(child: Spawn, asker: Caller, body: Any, field: str) -> None:
    answer = asker.raw(child.id, json.dumps(body).encode())
    assert refusal(answer) == (422, "invalid"), answer.text
    assert [error["field"] for error in answer.json()["errors"]] == [field]
    assert not Message.objects.exists()


@pytest.mark.parametrize(
    "raw",
    [
        b"{",
        b"\xff",
        b'{"question": "a", "question": "b"}',
        b'{"question": "\\u0000"}',
        b'{"question": "\\ud800"}',
        b'{"question": "?", "timeout_secs": NaN}',
        b'{"question": ' + b"[" * 100 + b"]" * 100 + b"}",
    ],
)
def test_what_is_no_strict_json_is_refused(child: Spawn, asker: Caller, raw: bytes) -> None:
    assert refusal(asker.raw(child.id, raw)) == (422, "invalid")
    assert not Message.objects.exists()


def test_a_body_that_never_ends_is_not_read(child: Spawn, asker: Caller) -> None:
    assert refusal(asker.raw(child.id, b'{"question": "' + b"x" * 2_000_000 + b'"}')) == (413, "too-large")


@pytest.mark.parametrize("timeout", ["x", "-1", "1e2", "nan", "", "301", "1.2.3"])
def test_a_timeout_is_a_number_of_seconds(child: Spawn, asker: Caller, timeout: str) -> None:
    assert refusal(asker.look(child.id, "x", timeout=timeout)) == (422, "invalid")


def test_a_call_is_not_held_for_longer_than_any_call(child: Spawn, asker: Caller, timings: Any) -> None:
    timings(held_call_secs=0.3)
    started = time.monotonic()
    assert standing(asker.ask(child.id, timeout_secs=300)) == ("pending", None)
    assert time.monotonic() - started < 20


def test_many_wait_at_once_and_cost_no_thread(server: Server, child: Spawn, caller: Asker) -> None:
    """More than a web process has threads: were one held for each, the answers could not come in."""
    many = [caller() for _ in range(6)]
    with server.child(child) as peer:
        held = [each.asks(child.id, f"question {n}") for each in many for n in range(4)]
        messages = [peer.hear("message") for _ in held]
        for message in messages:
            assert reply(peer, message, message["text"])["kind"] == "send_ack"
        answers = [each.result(20).json() for each in held]
    assert {answer["status"] for answer in answers} == {"answered"}
    assert sorted(answer["answer"] for answer in answers) == sorted(f"question {n}" for n in range(4) for _ in many)
