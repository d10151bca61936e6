"""`wardroom.plain`, frame by frame: the small dialect for children in any language."""

from __future__ import annotations

import pytest

from tests.e2e.conformance.conftest import Session, Spawn
from tests.e2e.conformance.peer import Peer, connect_child
from tests.waiting import wait_until

pytestmark = [pytest.mark.stack, pytest.mark.timeout(300)]

PLAIN = ("wardroom.plain",)
BODY = {"tool_name": "shell", "permission": "shell", "resource": "/srv", "arguments": {"command": "ls"}}


@pytest.mark.parametrize("protocols", [PLAIN, ()], ids=["named", "no subprotocol"])
def test_the_run_comes_at_once_and_on_every_connection(spawn: Spawn, protocols: tuple[str, ...]) -> None:
    session = spawn("plain work")
    for _ in range(2):
        with connect_child(session, protocols) as peer:
            assert peer.socket.subprotocol == (protocols[0] if protocols else None)
            assert peer.hear("run")["assignment"] == "plain work"
    assert session.now()["status"] == "running"


def test_a_bearer_subprotocol_is_not_named_back(spawn: Spawn) -> None:
    session = spawn()
    with connect_child(session, (*PLAIN, f"bearer.{session.token}"), token=None) as peer:
        assert peer.socket.subprotocol == "wardroom.plain"
        peer.hear("run")


def test_events_are_numbered_on_arrival_and_not_acknowledged(spawn: Spawn) -> None:
    session = spawn()
    with connect_child(session, PLAIN) as peer:
        peer.hear("run")
        for n in range(3):
            peer.say("event", event={"type": "x", "n": n})
        peer.say("event", event={"type": "token", "text": "lost"})
        assert peer.hears_nothing()
    own = wait_until(lambda: kept(session))
    assert own == [(1, 0), (2, 1), (3, 2)]


def kept(session: Session) -> list[tuple[int, int]]:
    own = [event for event in session.events() if event["source"] == "child"]
    return [(event["seq"], event["payload"]["n"]) for event in own] if len(own) >= 3 else []


def asks(peer: Peer, id: str = "ask-1") -> None:
    peer.say("approval_request", id=id, body=BODY)


def test_an_approved_reply_counts_as_consumed_once_it_is_written(spawn: Spawn) -> None:
    session = spawn()
    with connect_child(session, PLAIN) as peer:
        peer.hear("run")
        asks(peer)
        approval = session.decide("approve")
        reply = hear_reply(peer)
        assert (reply["id"], reply["approved"]) == ("ask-1", True)
        wait_until(lambda: session.client.approval(approval["id"])["consumed_at"])
        asks(peer)
        assert hear_reply(peer)["approved"] is True
        peer.say("terminal", status="completed", result="done")
        assert peer.closed() == 1000
    assert (session.now()["status"], session.now()["result"]) == ("completed", "done")


def hear_reply(peer: Peer) -> dict[str, object]:
    while (frame := peer.hear("approval_reply", "approval_registered"))["kind"] != "approval_reply":
        pass
    return frame


def test_a_denial_that_came_while_the_connection_was_down(spawn: Spawn) -> None:
    session = spawn()
    with connect_child(session, PLAIN) as peer:
        peer.hear("run")
        asks(peer)
        session.pending()
    session.decide("deny", message="no")
    with connect_child(session, PLAIN) as peer:
        peer.hear("run")
        reply = hear_reply(peer)
        assert (reply["approved"], reply["decision"], reply["message"]) == (False, "denied", "no")


def test_a_message_counts_as_admitted_once_it_is_written(spawn: Spawn) -> None:
    session = spawn()
    sent = session.client.message(session.id, {"text": "steer"})
    with connect_child(session, PLAIN) as peer:
        peer.hear("run")
        assert peer.hear("message")["text"] == "steer"
        peer.say("event", event={"type": "x"})
        wait_until(lambda: [event for event in session.events() if event["type"] == "x"])
    with connect_child(session, PLAIN) as peer:
        run = peer.hear("run")
        assert [item["id"] for item in run["messages"]] == [sent["id"]]
        assert peer.hears_nothing()


def test_a_cancel_comes_and_the_child_ends(spawn: Spawn) -> None:
    session = spawn()
    with connect_child(session, PLAIN) as peer:
        peer.hear("run")
        session.client.cancel(session.id, "enough")
        assert peer.hear("cancel")["reason"] == "enough"
        peer.say("terminal", status="cancelled")
        assert peer.closed() == 1000
    assert session.now()["status"] == "cancelled"


@pytest.mark.parametrize("kind", ["hello", "run_ack", "event_batch", "nonsense"])
def test_what_is_not_of_the_small_dialect_is_answered_and_ignored(spawn: Spawn, kind: str) -> None:
    session = spawn()
    with connect_child(session, PLAIN) as peer:
        peer.hear("run")
        peer.say(kind, attempt=1)
        assert peer.hear("error")["ref"] == kind
        peer.say("terminal", status="error", error="enough")
        assert peer.closed() == 1000
    assert session.now()["error"] == "enough"


def test_limits_hold_as_for_everybody(spawn: Spawn) -> None:
    session = spawn()
    with connect_child(session, PLAIN) as peer:
        peer.hear("run")
        peer.say("event", seq="ignored", event={"type": 5})
        assert peer.closed() == 4400
    with connect_child(session, PLAIN) as older:
        older.hear("run")
        with connect_child(session, PLAIN) as newer:
            newer.hear("run")
            assert older.closed() == 4409
