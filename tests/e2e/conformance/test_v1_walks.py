"""The walk-throughs of `docs/protocol.md`, frame by frame against a real server."""

from __future__ import annotations

import secrets
from typing import Any

import pytest

from tests.e2e.conformance.conftest import Spawn
from tests.e2e.conformance.peer import connect_child
from tests.waiting import wait_until
from wardroom.client import Problem

pytestmark = [pytest.mark.stack, pytest.mark.surface, pytest.mark.timeout(300)]


def test_walk_1_a_gated_tool(spawn: Spawn) -> None:
    session = spawn()
    with connect_child(session) as peer:
        peer.begin()
        registered = peer.ask()
        assert registered["status"] == "pending"
        assert session.now()["status"] == "running"
        decided = session.decide("approve")
        assert decided["status"] == "approved"
        reply = peer.hear("approval_reply")
        assert (reply["id"], reply["approved"], reply["decision"]) == ("ask-1", True, "approved")
        assert reply["arguments"] == {"command": "ls"}
        assert reply["digest"] == registered["digest"]
        peer.say("approval_ack", id="ask-1", state="received")
        peer.say("approval_ack", id="ask-1", state="consumed", digest=reply["digest"], claim="c1")
        assert peer.hear("approval_consumed")["id"] == "ask-1"
        peer.say("event", seq=1, event={"type": "tool_finished", "tool_name": "shell", "ok": True})
        peer.hear("event_ack")
        peer.finish(result="done")
    over = session.now()
    assert (over["status"], over["result"]) == ("completed", "done")
    approval = session.client.approval(registered["approval_id"])
    assert approval["delivered_at"]
    assert approval["consumed_at"]


def test_what_runs_is_what_was_edited(spawn: Spawn) -> None:
    session = spawn()
    with connect_child(session) as peer:
        peer.begin()
        registered = peer.ask()
        session.decide("edit", arguments={"command": "ls -l"})
        reply = peer.hear("approval_reply")
        assert reply["arguments"] == {"command": "ls -l"}
        assert reply["digest"] != registered["digest"]
        peer.say("approval_ack", id="ask-1", state="consumed", digest=registered["digest"], claim="c1")
        assert peer.hear("error")["code"] == "digest-mismatch"
        peer.say("approval_ack", id="ask-1", state="consumed", digest=reply["digest"], claim="c1")
        peer.hear("approval_consumed")


def test_an_execution_is_handed_out_once_and_again_only_to_its_claim(spawn: Spawn) -> None:
    session = spawn()
    with connect_child(session) as peer:
        peer.begin()
        peer.ask()
        session.decide("approve")
        digest = peer.hear("approval_reply")["digest"]
        consumed: dict[str, Any] = {"id": "ask-1", "state": "consumed", "digest": digest}
        peer.say("approval_ack", **consumed, claim="mine")
        peer.hear("approval_consumed")
        peer.say("approval_ack", **consumed, claim="mine")
        peer.hear("approval_consumed")
        peer.say("approval_ack", **consumed, claim="another")
        assert peer.hear("error")["code"] == "consumed"
        peer.say("approval_ack", **consumed)
        assert peer.hear("error")["code"] == "consumed"
    with connect_child(session) as peer:
        peer.say("hello", attempt=1)
        peer.hear("welcome")
        peer.say("approval_ack", **consumed, claim="mine")
        wait_until(lambda: peer.hear("approval_consumed", "approval_reply")["kind"] == "approval_consumed")


def test_the_same_ask_again_is_the_same_request_and_a_changed_one_a_conflict(spawn: Spawn) -> None:
    session = spawn()
    with connect_child(session) as peer:
        peer.begin()
        first = peer.ask()
        assert peer.ask()["approval_id"] == first["approval_id"]
        refusal = peer.ask(arguments={"command": "rm -rf /"})
        assert (refusal["kind"], refusal["code"], refusal["ref"]) == ("error", "conflict", "ask-1")


def test_walk_2_the_answer_that_came_while_the_connection_was_down(spawn: Spawn) -> None:
    session = spawn()
    with connect_child(session) as peer:
        peer.begin()
        peer.ask()
        peer.socket.socket.close()
    session.decide("deny", message="not today")
    with connect_child(session) as peer:
        peer.say("hello", attempt=1)
        peer.hear("welcome")
        reply = peer.hear("approval_reply")
        assert (reply["approved"], reply["decision"], reply["message"]) == (False, "denied", "not today")
        peer.say("approval_ack", id="ask-1", state="received")
        peer.say("event", seq=1, event={"type": "x"})
        peer.hear("event_ack")
    with connect_child(session) as peer:
        peer.say("hello", attempt=1)
        peer.hear("welcome")
        assert peer.hears_nothing()


def test_walk_3_a_decision_that_was_not_acknowledged_waits_for_whoever_comes(spawn: Spawn) -> None:
    session = spawn()
    with connect_child(session) as peer:
        peer.begin()
        peer.ask()
        session.decide("approve")
        peer.hear("approval_reply")
    with connect_child(session) as peer:
        peer.begin(need_run=True)
        assert peer.hear("approval_reply")["approved"]
        assert peer.hears_nothing()


def test_walk_4_a_second_answer_is_refused_and_nothing_more_goes_over_the_wire(spawn: Spawn) -> None:
    session = spawn()
    with connect_child(session) as peer:
        peer.begin()
        peer.ask()
        shown = session.pending()
        session.client.decide(shown, "approve")
        peer.hear("approval_reply")
        with pytest.raises(Problem) as refusal:
            session.client.decide(shown, "deny")
        assert (refusal.value.status, refusal.value.type) == (409, "already-decided")
        assert peer.hears_nothing()


def test_walk_5_nobody_answers_and_then_it_expires_as_a_word_of_its_own(spawn: Spawn) -> None:
    session = spawn()
    with connect_child(session) as peer:
        peer.begin()
        registered = peer.ask(expires_in_secs=1)
        shown = session.client.approval(registered["approval_id"])
        assert shown["status"] == "pending"
        reply = peer.hear("approval_reply", timeout=30)
        assert (reply["approved"], reply["decision"]) == (False, "expired")
        with pytest.raises(Problem) as refusal:
            session.client.decide(shown, "approve")
        assert (refusal.value.status, refusal.value.type) == (410, "expired")
        assert session.now()["status"] == "running"


def test_walk_6_steering_a_live_child_and_one_that_is_not(spawn: Spawn) -> None:
    session = spawn()
    before = session.client.message(session.id, {"text": "early"})
    assert before["outcome"] == "queued"
    with connect_child(session) as peer:
        peer.begin()
        early = peer.hear("message")
        assert (early["id"], early["text"], early["body"]) == (before["id"], "early", {"text": "early"})
        peer.ask()
        id = secrets.token_hex(8)
        live = session.client.message(session.id, "steer", id=id)
        assert live["outcome"] == "delivered_live"
        steer = peer.hear("message")
        assert (steer["id"], steer["text"]) == (id, "steer")
        peer.say("message_admitted", ids=[early["id"]])
        peer.say("event", seq=1, event={"type": "x"})
        peer.hear("event_ack")
        assert session.pending()["status"] == "pending"
    with connect_child(session) as peer:
        peer.say("hello", attempt=1)
        peer.hear("welcome")
        assert peer.hear("message")["id"] == id
        assert peer.hears_nothing()
    with connect_child(session) as peer:
        peer.say("hello", attempt=1, need_run=True)
        peer.hear("welcome")
        assert early["id"] in [item.get("id") for item in peer.hear("run")["messages"]]
