"""`wardroom.v1`, frame by frame against a real server: the first seconds and every frame."""

from __future__ import annotations

import json
import secrets

import pytest

from tests.e2e.conformance.conftest import Spawn
from tests.e2e.conformance.peer import connect_child
from tests.waiting import wait_until
from wardroom.client import Problem

pytestmark = [pytest.mark.stack, pytest.mark.timeout(300)]


# --- the first seconds ------------------------------------------------------------------------------------


def test_hello_is_answered_with_welcome_and_the_run(spawn: Spawn) -> None:
    session = spawn("the work", metadata={"child_watchdog.max_idle_secs": 77})
    with connect_child(session) as peer:
        assert peer.socket.subprotocol == "wardroom.v1"
        peer.say("hello", attempt=1, client="script/1", brand_new={"field": 1})
        welcome = peer.hear("welcome")
        assert (welcome["session_id"], welcome["attempt"], welcome["acked_event_seq"]) == (session.id, 1, 0)
        assert welcome["limits"]["max_frame_bytes"] == 1024 * 1024
        assert welcome["limits"]["max_unacked_events"] >= 64
        run = peer.hear("run")
        assert (run["assignment"], run["attempt"], run["messages"], run["disabled_tools"]) == ("the work", 1, [], [])
        assert run["session"] == {"session_id": session.id, "root_session_id": session.id, "depth": 0}
        assert run["limits"]["max_idle_secs"] == 77
        peer.say("run_ack")
        wait_until(lambda: session.now()["status"] == "running")


def test_a_token_may_come_as_a_subprotocol_and_is_not_named_back(spawn: Spawn) -> None:
    session = spawn()
    with connect_child(session, ("wardroom.v1", f"bearer.{session.token}"), token=None) as peer:
        assert peer.socket.subprotocol == "wardroom.v1"
        peer.begin()


def test_the_run_comes_again_until_it_is_acknowledged_and_then_only_when_needed(spawn: Spawn) -> None:
    session = spawn()
    with connect_child(session) as peer:
        peer.say("hello", attempt=1)
        peer.hear("welcome")
        peer.hear("run")
    with connect_child(session) as peer:
        peer.begin()
        peer.say("event", seq=1, event={"type": "x"})
        peer.hear("event_ack")
    with connect_child(session) as peer:
        peer.say("hello", attempt=1, need_run=None)
        peer.hear("welcome")
        assert peer.hears_nothing()
    with connect_child(session) as peer:
        peer.begin(need_run=True)


def test_an_origin_means_nothing_here(spawn: Spawn) -> None:
    session = spawn()
    with connect_child(session, origin="https://evil.example") as peer:
        assert peer.begin()["assignment"] == session.now()["assignment"]


# --- events ------------------------------------------------------------------------------------------------


def test_durable_events_are_acknowledged_and_kept_once(spawn: Spawn) -> None:
    session = spawn()
    with connect_child(session) as peer:
        peer.begin()
        peer.say("event", seq=1, event={"type": "first", "n": 1})
        assert peer.hear("event_ack")["seq"] == 1
        events = [{"type": "more", "n": n} for n in (2, 3)]
        peer.say("event_batch", first_seq=2, last_seq=3, qos="durable", events=events)
        assert peer.hear("event_ack")["seq"] == 3
    with connect_child(session) as peer:
        peer.say("hello", attempt=1)
        assert peer.hear("welcome")["acked_event_seq"] == 3
        peer.say("event", seq=2, event={"type": "more", "n": 2})
        peer.say("event", seq=9, event={"type": "a gap is fine"})
        wait_until(lambda: peer.hear("event_ack")["seq"] == 9)
    own = [(event["seq"], event["type"]) for event in session.events() if event["source"] == "child"]
    assert own == [(1, "first"), (2, "more"), (3, "more"), (9, "a gap is fine")]


def test_lossy_events_are_taken_and_not_kept(spawn: Spawn) -> None:
    session = spawn()
    with connect_child(session) as peer:
        peer.begin()
        peer.say("event_batch", first_seq=1, last_seq=2, qos="ephemeral", events=[{"type": "token"}] * 2)
        peer.say("event_batch", first_seq=3, last_seq=3, qos="snapshot", events=[{"type": "runner_progress"}])
        peer.say("event", seq=4, event={"type": "never heard of"})
        wait_until(lambda: peer.hear("event_ack")["seq"] == 4)
    assert [event["type"] for event in session.events() if event["source"] == "child"] == ["never heard of"]


def test_a_childs_event_with_a_type_of_wardrooms_moves_nothing(spawn: Spawn) -> None:
    session = spawn()
    with connect_child(session) as peer:
        peer.begin()
        peer.say("event", seq=1, event={"type": "session_completed", "status": "completed"})
        peer.hear("event_ack")
        assert session.now()["status"] == "running"
        assert [event["source"] for event in session.events() if event["type"] == "session_completed"] == ["child"]


def test_rounds_and_tools_are_read_from_events(spawn: Spawn) -> None:
    session = spawn()
    with connect_child(session) as peer:
        peer.begin()
        peer.say("event", seq=1, event={"type": "round_started", "round": 7})
        peer.say("event", seq=2, event={"type": "tool_started", "tool_name": "shell"})
        wait_until(lambda: peer.hear("event_ack")["seq"] == 2)
    assert (session.now()["rounds"], session.now()["last_tool"]) == (7, "shell")


# --- the rest --------------------------------------------------------------------------------------------------


def test_a_withdrawn_ask_can_not_be_answered_any_more(spawn: Spawn) -> None:
    session = spawn()
    with connect_child(session) as peer:
        peer.begin()
        registered = peer.ask()
        shown = session.pending()
        peer.say("approval_withdraw", id="ask-1", reason="done by hand")
        wait_until(lambda: session.client.approval(registered["approval_id"])["status"] == "cancelled")
        with pytest.raises(Problem) as refusal:
            session.client.decide(shown, "approve")
        assert refusal.value.status == 409


def test_a_child_cannot_answer_what_it_asked(spawn: Spawn) -> None:
    session = spawn()
    with connect_child(session) as peer:
        peer.begin()
        peer.ask()
        shown = session.pending()
        child = type(session.client)(session.client.url, session.token)
        with pytest.raises(Problem) as refusal:
            child.decide(shown, "approve")
        assert refusal.value.status in (403, 404)
        assert session.pending()["status"] == "pending"


def test_a_cancel_comes_out_of_band_and_instead_of_the_run(spawn: Spawn) -> None:
    session = spawn()
    with connect_child(session) as peer:
        peer.begin()
        session.client.cancel(session.id, "enough")
        cancel = peer.hear("cancel")
        assert cancel["reason"] == "enough"
        assert cancel["grace_secs"] > 0
    with connect_child(session) as peer:
        peer.say("hello", attempt=1, need_run=True)
        peer.hear("welcome")
        peer.hear("cancel")
        peer.finish("cancelled")
    assert session.now()["status"] == "cancelled"


def test_a_child_that_finishes_while_it_is_cancelled_keeps_its_own_outcome(spawn: Spawn) -> None:
    session = spawn()
    with connect_child(session) as peer:
        peer.begin()
        session.client.cancel(session.id)
        peer.hear("cancel")
        peer.finish("completed", result="made it")
    assert session.now()["status"] == "completed"


def test_a_transcript_is_kept_in_parts_and_told_to_whoever_needs_the_run(spawn: Spawn) -> None:
    session = spawn()
    with connect_child(session) as peer:
        peer.begin()
        peer.say("transcript", first=0, items=[{"role": "user", "content": "a", "id": "i1"}])
        assert peer.hear("transcript_ack")["next"] == 1
        items = [{"role": "user", "content": "a", "id": "i1"}, {"role": "assistant", "content": {"b": [1, None]}}]
        peer.say("transcript", first=0, items=items)
        assert peer.hear("transcript_ack")["next"] == 2
        peer.say("transcript", first=5, items=[{"role": "user", "content": "hole"}])
        assert peer.hear("error")["ref"] == "transcript"
    with connect_child(session) as peer:
        peer.say("hello", attempt=1, need_run=True)
        assert peer.hear("welcome")["transcript_next"] == 2
        run = peer.hear("run")
        assert [item["content"] for item in run["messages"]] == ["a", {"b": [1, None]}]
        assert run["messages"][0]["id"] == "i1"


def test_a_child_writes_to_its_own_tree_only(spawn: Spawn) -> None:
    session, stranger = spawn(), spawn()
    mine = spawn("child", parent=session.id)
    with connect_child(session) as peer, connect_child(mine) as other:
        peer.begin()
        other.begin()
        peer.say("send", id="s1", to=f"session:{mine.id}", message_kind="task", body={"text": "go"})
        assert peer.hear("send_ack")["outcome"] == "delivered_live"
        heard = other.hear("message")
        assert (heard["text"], heard["from"]["session_id"]) == ("go", session.id)
        for to in (f"session:{stranger.id}", f"session:{secrets.token_hex(8)}", "someone-else"):
            peer.say("send", id=f"no-{to}"[:200], to=to, message_kind="task", body="x")
            assert peer.hear("error")["ref"].startswith("no-")


def test_an_unknown_kind_is_answered_and_otherwise_ignored(spawn: Spawn) -> None:
    session = spawn()
    with connect_child(session) as peer:
        peer.say("brand_new_before_hello")
        peer.hear("error")
        peer.begin()
        peer.say("brand_new", anything=[1])
        assert peer.hear("error")["ref"] == "brand_new"
        peer.say("welcome")
        assert peer.hear("error")["ref"] == "welcome"
        peer.finish()


def test_a_result_that_is_too_long_is_refused_and_a_shorter_one_taken(spawn: Spawn) -> None:
    session = spawn()
    with connect_child(session) as peer:
        peer.begin()
        peer.say("terminal", status="completed", result="x" * (128 * 1024 + 1))
        assert peer.hear("error")["ref"] == "terminal"
        assert session.now()["status"] == "running"
        peer.finish(result="x" * 1000)


def test_an_error_and_its_text_are_the_sessions(spawn: Spawn) -> None:
    session = spawn()
    with connect_child(session) as peer:
        peer.begin()
        peer.finish("error", error="it broke")
    assert (session.now()["status"], session.now()["error"]) == ("error", "it broke")


def test_the_end_of_an_attempt_settles_its_asks(spawn: Spawn) -> None:
    session = spawn()
    with connect_child(session) as peer:
        peer.begin()
        registered = peer.ask()
        peer.finish()
    assert session.client.approval(registered["approval_id"])["status"] == "cancelled"


def test_secrets_and_tokens_are_not_in_what_others_see(spawn: Spawn) -> None:
    session = spawn()
    with connect_child(session) as peer:
        peer.begin()
        peer.finish()
    assert session.token not in json.dumps([session.now(), session.events()])
