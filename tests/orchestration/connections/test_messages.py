"""Messages to a child: each once per connection, admitted once, in order; and the addresses that it may write to."""

from __future__ import annotations

import asyncio
import json
import uuid
from collections.abc import Callable, MutableMapping
from typing import Any

import httpx
import pytest

from accounts import projects
from accounts.models import Project
from core.concurrency.threadpool import run_in_threadpool
from core.limits import LIMITS
from ledger import hub
from mailbox import delivery
from mailbox.envelope import NewMessage
from mailbox.models import Message
from orchestration import presence
from orchestration.connections.consumer import ChildConsumer
from orchestration.sessions import cancel as session_cancel
from orchestration.sessions import lifecycle
from orchestration.sessions import spawn as session_spawn
from tests.orchestration.connections.conftest import PATIENCE, TESTS, Peer, Server, Spawn
from tests.waiting import wait_until, wait_until_async


def post(child: Spawn, *texts: str, kind: str = "task", **fields: Any) -> list[str]:
    """Messages to the child's session; their ids."""
    messages = [NewMessage(message_kind=kind, body={"text": text}, **fields) for text in texts]
    found = delivery.deliver(projects.default().pk, child.session.address, messages)
    return [each.id for each in found]


def cancel(child: Spawn) -> None:
    session_cancel.cancel(projects.default(), child.id, "stop", TESTS)


def texts(peer: Peer, count: int) -> list[str]:
    return [peer.hear("message")["text"] for _ in range(count)]


def state(message: str) -> str:
    return Message.objects.get(message_id=message).state


def test_a_message_reaches_a_live_child_at_once_and_is_admitted_when_it_says_so(
    server: Server, child: Spawn, timings: Callable[..., None]
) -> None:
    timings(connection_poll_secs=60)  # Out of reach: what comes at once came by a wake-up.
    with server.child(child) as peer:
        (sent,) = post(child, "look here")
        message = peer.hear("message")
        assert (message["id"], message["text"], message["body"]) == (sent, "look here", {"text": "look here"})
        assert state(sent) == "new"
        peer.say("message_admitted", ids=[sent])
        wait_until(lambda: state(sent) == "admitted")
    with server.child(child, run=False) as peer:
        assert peer.silent()


def test_messages_wait_for_a_child_and_come_in_order_once_per_connection(server: Server, child: Spawn) -> None:
    wanted = [f"number {count}" for count in range(40)]
    post(child, *wanted)
    with server.child(child) as peer:
        assert texts(peer, 40) == wanted
        post(child, "one more")
        assert texts(peer, 1) == ["one more"]
    with server.child(child, run=False) as peer:
        assert texts(peer, 41) == [*wanted, "one more"]


def test_a_message_is_admitted_once(server: Server, child: Spawn) -> None:
    (sent,) = post(child, "once")
    with server.child(child) as peer:
        peer.hear("message")
        peer.say("message_admitted", ids=[sent])
        wait_until(lambda: state(sent) == "admitted")
        at = Message.objects.get(message_id=sent).admitted_at
        peer.say("message_admitted", ids=[sent, "unknown"])
        peer.say("event", seq=1, event={"type": "note"})
        peer.hear("event_ack")
        assert Message.objects.get(message_id=sent).admitted_at == at


def test_a_cancel_comes_before_what_waits(server: Server, child: Spawn) -> None:
    with server.child(child):
        pass
    post(child, *(["wait"] * 200))
    cancel(child)
    with server.child(child, run=False) as peer:
        told = peer.hear("cancel")
        assert (told["reason"], told["grace_secs"]) == ("stop", 20.0)
        peer.hear("message")
    assert child.attempt().cancel_sent_at is not None


def test_a_cancelled_attempt_is_not_told_to_run(server: Server, child: Spawn) -> None:
    with server.child(child, run=False) as peer:
        peer.hear("run")
    cancel(child)
    with server.child(child, run=False, need_run=True) as peer:
        peer.hear("cancel")
        assert peer.silent()


async def test_a_cancel_overtakes_messages_that_are_being_written(child: Spawn, broker: object) -> None:
    """The consumer with a transport of ours, which lets the cancel in after the first of ten messages."""
    await run_in_threadpool(post, child, *(["wait"] * 10))
    heard: list[str] = []
    says: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
    for text in ("", '{"kind":"hello","attempt":1}'):
        says.put_nowait({"type": "websocket.receive", "text": text} if text else {"type": "websocket.connect"})

    async def send(message: MutableMapping[str, Any]) -> None:
        if message["type"] != "websocket.send":
            return
        heard.append(json.loads(message["text"])["kind"])
        if heard.count("message") == 1:
            (subscription,) = hub.get()._subscriptions[f"session:{child.id}"]
            await run_in_threadpool(cancel, child)
            await wait_until_async(lambda: subscription.is_woken)
        if heard.count("message") == 10:
            says.put_nowait({"type": "websocket.disconnect", "code": 1005})

    headers = [(b"authorization", f"Bearer {child.token}".encode())]
    scope: dict[str, Any] = {"type": "websocket", "headers": headers, "subprotocols": ["wardroom.v1"]}
    scope["url_route"] = {"kwargs": {"session_id": str(child.id)}}
    try:
        await asyncio.wait_for(ChildConsumer()(scope, says.get, send), PATIENCE)
    finally:
        await run_in_threadpool(presence.end)
    assert heard == ["welcome", "run", "message", "cancel", *(["message"] * 9)]


def test_a_plain_childs_message_is_admitted_when_it_is_written(server: Server, child: Spawn) -> None:
    with server.plain(child) as peer:
        peer.hear("run")
        (sent,) = post(child, "hello")
        assert peer.hear("message")["text"] == "hello"
        wait_until(lambda: state(sent) == "admitted")
    with server.plain(child) as peer:
        run = peer.hear("run")
        assert [entry["id"] for entry in run["messages"]] == [sent]
        assert peer.silent()


def test_another_childs_message_cannot_be_admitted(server: Server, child: Spawn, spawn: Callable[..., Spawn]) -> None:
    (sent,) = post(child, "for one")
    with server.child(spawn()) as stranger:
        stranger.say("message_admitted", ids=[sent])
        stranger.say("event", seq=1, event={"type": "note"})
        stranger.hear("event_ack")
    assert state(sent) == "new"


# --- sending ------------------------------------------------------------------------------------------------


def send(peer: Peer, **fields: Any) -> dict[str, Any]:
    """The answer to a send: its acknowledgement or its refusal."""
    peer.say("send", **{"id": str(uuid.uuid4()), "message_kind": "handoff", "body": {"text": "hi"}, **fields})
    frame: dict[str, Any] = json.loads(peer.socket.recv(timeout=PATIENCE))
    return frame


@pytest.fixture
def family(spawn: Callable[..., Spawn]) -> tuple[Spawn, Spawn]:
    parent = spawn()
    lifecycle.started(parent.id, 1)
    return parent, spawn(parent=parent.id, role="researcher")


def test_a_child_writes_to_its_parent_as_itself(server: Server, family: tuple[Spawn, Spawn]) -> None:
    parent, child = family
    with server.child(parent) as above, server.child(child) as peer:
        assert send(peer, to=parent.session.address)["outcome"] == "delivered_live"
        message = above.hear("message")
        assert message["from"] == {"session_id": str(child.id), "role": "researcher"}


def test_a_bare_session_id_is_an_address(server: Server, family: tuple[Spawn, Spawn]) -> None:
    parent, child = family
    with server.child(child) as peer:
        assert send(peer, to=str(parent.id))["outcome"] == "queued"


def test_the_same_send_again_is_one_message(server: Server, family: tuple[Spawn, Spawn]) -> None:
    parent, child = family
    with server.child(child) as peer:
        answers = [send(peer, id="the-one", to=str(parent.id)) for _ in range(2)]
        assert [(answer["kind"], answer["id"]) for answer in answers] == [("send_ack", "the-one")] * 2
        refused = send(peer, id="the-one", to=str(parent.id), body={"text": "other"})
        assert (refused["kind"], refused["code"], refused["ref"]) == ("error", "conflict", "the-one")
    assert Message.objects.filter(message_id="the-one").count() == 1


def test_a_reply_without_to_goes_where_its_ask_came_from(server: Server, family: tuple[Spawn, Spawn]) -> None:
    parent, child = family
    with server.child(parent) as above, server.child(child) as peer:
        ask = send(above, to=str(child.id), message_kind="ask", correlation_id="q1", body={"question": "why?"})
        assert ask["kind"] == "send_ack"
        assert peer.hear("message")["correlation_id"] == "q1"
        because = {"message_kind": "reply", "body": {"answer": "because"}}
        assert send(peer, **because, correlation_id="q1")["kind"] == "send_ack"
        assert above.hear("message")["text"] == "because"
        assert send(peer, **because, correlation_id="unasked")["code"] == "invalid"
        assert send(peer, **because)["code"] == "invalid"


def test_a_child_is_told_that_too_many_questions_wait_where_it_asks(
    server: Server, family: tuple[Spawn, Spawn], timings: Any
) -> None:
    timings(open_asks_per_session=1)
    parent, child = family
    with server.child(parent) as above:
        ask = {"to": str(child.id), "message_kind": "ask", "body": {"question": "why?"}}
        assert send(above, id="first", **ask)["kind"] == "send_ack"
        assert send(above, **ask)["code"] == "too-many"
        assert send(above, id="first", **ask)["kind"] == "send_ack"
        assert send(above, to=str(child.id))["kind"] == "send_ack"


def test_nothing_outside_its_tree_can_be_written_to(
    server: Server, family: tuple[Spawn, Spawn], spawn: Callable[..., Spawn]
) -> None:
    other_tree = spawn()
    elsewhere = Project.objects.create(slug="elsewhere")
    foreign = session_spawn.spawn(
        elsewhere, session_spawn.SpawnOrder(assignment="x", runner="external"), TESTS
    ).session.pk
    with server.child(family[1]) as peer:
        answers = [send(peer, to=str(to)) for to in (other_tree.id, foreign, uuid.uuid4(), "plain-address")]
    assert {(answer["kind"], answer["code"], answer["detail"]) for answer in answers} == {
        ("error", "forbidden", "A child may write to its own tree and to addresses that its role names.")
    }
    assert not Message.objects.exists()


def test_a_role_names_plain_addresses(server: Server, spawn: Callable[..., Spawn], timings: Any, settings: Any) -> None:
    timings(roles={**LIMITS.roles, "clerk": {"addresses": ["ledger-desk"]}})
    with server.child(spawn(role="clerk")) as peer:
        assert send(peer, to="ledger-desk")["outcome"] == "pending"
        assert send(peer, to="other-desk")["code"] == "forbidden"


def test_a_role_that_a_child_only_claims_opens_no_address(
    server: Server, child: Spawn, timings: Callable[..., None], settings: Any
) -> None:
    """The child has a token of its own, and names the role for a child that it will itself be."""
    timings(roles={**LIMITS.roles, "clerk": {"addresses": ["ledger-desk"], "command": ["sleep", "9"]}})
    asked = {"role": "clerk", "runner": "external", "assignment": "x"}
    answer = httpx.post(
        f"http://127.0.0.1:{server.port}/api/v1/sessions",
        headers={"Authorization": f"Bearer {child.token}", "Host": "testserver"},
        json=asked,
    )
    assert answer.status_code == 201, answer.text
    claimed = object.__new__(Spawn)
    claimed.id, claimed.token = uuid.UUID(answer.json()["id"]), answer.json()["child"]["token"]
    with server.child(claimed) as peer:
        assert send(peer, to="ledger-desk")["code"] == "forbidden"
    assert not Message.objects.exists()


def test_kinds_that_only_wardroom_sends_are_refused(server: Server, family: tuple[Spawn, Spawn]) -> None:
    with server.child(family[1]) as peer:
        assert send(peer, to=str(family[0].id), message_kind="completion")["kind"] == "error"


def test_a_body_over_its_limit_is_refused_and_the_connection_stays(server: Server, family: tuple[Spawn, Spawn]) -> None:
    with server.child(family[1]) as peer:
        assert send(peer, to=str(family[0].id), body={"text": "x" * 300_000})["kind"] == "error"
        assert send(peer, to=str(family[0].id))["kind"] == "send_ack"
