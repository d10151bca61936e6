"""A question to a session by REST, answered over its connection: held, late, once."""

from __future__ import annotations

from typing import Any

import pytest

from accounts import projects
from accounts.models import Credential, Project
from mailbox import questions, session_inbox
from mailbox.models import Message
from orchestration.models import Session
from orchestration.sessions import lifecycle
from orchestration.sessions import questions as session_questions
from tests.orchestration.connections.callers import Asker, Caller, asker, caller, pending, refusal, reply, standing
from tests.orchestration.connections.conftest import TESTS, Server, Spawn
from tests.waiting import wait_until

__all__ = ["asker", "caller"]

# --- asked and answered ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("mode", ["query", "steer"])
def test_a_question_is_held_until_the_child_answers(
    server: Server, child: Spawn, asker: Caller, timings: Any, mode: str
) -> None:
    timings(hub_poll_secs=60)  # Out of reach: a wake-up ends the wait, not the poll and not the 25 s of a held call.
    with server.child(child) as peer:
        held = asker.asks(child.id, "how far?", mode=mode, timeout_secs=60)
        message = peer.hear("message")
        assert (message["message_kind"], message["body"]) == ("ask", {"question": "how far?", "mode": mode})
        assert message["text"] == "how far?"
        assert message["correlation_id"] == message["id"]
        assert not held.done()
        assert reply(peer, message, {"step": 3})["kind"] == "send_ack"
        answer = held.result(20).json()
    assert (answer["status"], answer["answer"], answer["ask_id"]) == ("answered", {"step": 3}, message["id"])
    assert answer["from"] == {"session_id": str(child.id), "role": None}
    assert answer["answered_at"] and answer["session_status"] == "running"


def test_a_deadline_is_pending_and_the_late_answer_is_there(server: Server, child: Spawn, asker: Caller) -> None:
    ask_id = pending(asker, child.id, timeout_secs=0.2)
    assert standing(asker.look(child.id, ask_id)) == ("pending", None)
    with server.child(child) as peer:
        held = asker.looks(child.id, ask_id, timeout=20)
        assert reply(peer, peer.hear("message"), "late")["kind"] == "send_ack"
        assert standing(held.result(10)) == ("answered", "late")
    assert standing(asker.look(child.id, ask_id)) == ("answered", "late")


def test_an_answer_that_is_lost_on_the_way_is_found_by_the_poll(
    server: Server, child: Spawn, asker: Caller, timings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    timings(hub_poll_secs=0.3)
    with server.child(child) as peer:
        held = asker.asks(child.id)
        message = peer.hear("message")
        monkeypatch.setattr("ledger.wakeups.publish", lambda topics: False)
        reply(peer, message, "unheard")
        assert standing(held.result(10)) == ("answered", "unheard")


def test_only_so_many_questions_wait_for_one_session(server: Server, child: Spawn, asker: Caller, timings: Any) -> None:
    timings(open_asks_per_session=3)
    again = {"headers": {"Idempotency-Key": "again"}}
    known = pending(asker, child.id, "the same", **again)
    many = [asker.asks(child.id, str(number), timeout_secs=0) for number in range(12)]
    assert sorted(each.result(20).status_code for each in many) == [200] * 2 + [429] * 10
    refused = asker.ask(child.id, "one more", timeout_secs=0)
    assert (refusal(refused), refused.headers["retry-after"]) == ((429, "too-many"), "5")
    assert refusal(asker.send(child.id, message_kind="ask", body={"question": "?"})) == (429, "too-many")
    assert asker.send(child.id, message_kind="task", body="what is no question").status_code == 202
    assert pending(asker, child.id, "the same", **again) == known
    with server.child(child) as peer:
        peer.say("message_admitted", ids=[peer.hear("message")["id"]])
        wait_until(lambda: asker.ask(child.id, "one more", timeout_secs=0).status_code == 200)


def test_who_waits_is_not_woken_by_what_others_ask_and_are_answered(
    server: Server, child: Spawn, asker: Caller, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Otherwise a hundred waiters for one session would read ten thousand times."""
    mine = session_questions.Ask(projects.default().pk, child.id, pending(asker, child.id, "mine"))
    heard: list[str] = []
    monkeypatch.setattr("ledger.wakeups.publish", lambda topics: bool(heard.extend(topics)))
    with server.child(child) as peer:
        first = peer.hear("message")
        pending(asker, child.id, "another's")
        reply(peer, {"correlation_id": wait_until(lambda: Message.objects.get(seq=2)).message_id}, "theirs")
        assert heard and not {*session_questions.topics(mine)} & {*heard}
        reply(peer, first, "mine")
        assert {*session_questions.topics(mine)} & {*heard}


def test_no_answer_at_all_is_still_an_answer(server: Server, child: Spawn, asker: Caller) -> None:
    with server.child(child) as peer:
        held = asker.asks(child.id)
        reply(peer, peer.hear("message"), None)
        answer = held.result(10).json()
    assert answer["status"] == "answered" and answer["answer"] is None


def test_the_first_answer_stands(server: Server, child: Spawn, asker: Caller) -> None:
    ask_id = pending(asker, child.id)
    with server.child(child) as peer:
        message = peer.hear("message")
        assert reply(peer, message, "one", id="r1")["kind"] == "send_ack"
        assert reply(peer, message, "one", id="r1")["kind"] == "send_ack", "the same again is no error"
        refused = reply(peer, message, "two", id="r2")
        assert (refused["kind"], refused["code"], refused["ref"]) == ("error", "already-answered", "r2")
    assert standing(asker.look(child.id, ask_id)) == ("answered", "one")
    assert Message.objects.filter(message_kind="reply").count() == 1


def test_the_same_key_is_the_same_question(server: Server, child: Spawn, asker: Caller) -> None:
    key = {"Idempotency-Key": "k1"}
    answer = asker.ask(child.id, headers=key, timeout_secs=0)
    first = answer.json()["ask_id"]
    assert "idempotency-replayed" not in answer.headers
    assert pending(asker, child.id, headers=key) == first
    other = asker.ask(child.id, "something else", headers=key)
    assert refusal(other) == (422, "invalid")
    assert other.json()["errors"][0]["field"] == "Idempotency-Key"
    assert refusal(asker.ask(child.id, headers={"Idempotency-Key": "x" * 256})) == (422, "invalid")
    with server.child(child) as peer:
        reply(peer, peer.hear("message"), "once")
        assert peer.silent()
    lifecycle.finish(child.id, 1, "completed")
    repeated = asker.ask(child.id, headers=key)
    assert repeated.headers["idempotency-replayed"] == "true"
    again = repeated.json()
    assert (again["ask_id"], again["status"], again["answer"]) == (first, "answered", "once")


def test_another_callers_key_is_another_question(child: Spawn, caller: Asker) -> None:
    key = {"Idempotency-Key": "k1"}
    assert pending(caller(), child.id, headers=key) != pending(caller(), child.id, headers=key)


# --- its end --------------------------------------------------------------------------------------------------------


def test_who_is_over_cannot_be_asked_and_is_not_started(child: Spawn, asker: Caller) -> None:
    lifecycle.started(child.id, 1)
    lifecycle.finish(child.id, 1, "completed")
    answer = asker.ask(child.id)
    assert refusal(answer) == (409, "not-running")
    assert answer.json()["session_status"] == "completed"
    assert not Message.objects.exists()
    assert child.session.attempt == 1


def test_who_waits_learns_that_the_session_ended(server: Server, child: Spawn, asker: Caller, timings: Any) -> None:
    timings(hub_poll_secs=60)
    with server.child(child) as peer:
        held = asker.asks(child.id, timeout_secs=60)
        ask_id = peer.hear("message")["id"]
        peer.say("terminal", status="completed")
        answer = held.result(20).json()
    assert (answer["status"], answer["session_status"]) == ("ended", "completed")
    assert "answer" not in answer
    lifecycle.retry(projects.default(), child.id, TESTS)
    assert standing(asker.look(child.id, ask_id)) == ("pending", None), "a new attempt may answer"


def test_an_answer_and_then_the_end_is_an_answer(server: Server, child: Spawn, asker: Caller) -> None:
    ask_id = pending(asker, child.id)
    with server.child(child) as peer:
        reply(peer, peer.hear("message"), "done soon")
        peer.say("terminal", status="completed")
        peer.hear_until("terminal_ack")
    assert standing(asker.look(child.id, ask_id)) == ("answered", "done soon")


def test_an_answer_that_comes_with_the_end_is_not_taken_for_an_end_without_one(
    child: Spawn, asker: Caller, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Both commit between the two reads of the waiter."""
    lifecycle.started(child.id, 1)
    ask = session_questions.Ask(projects.default().pk, child.id, pending(asker, child.id))
    look = questions.answer_to

    def late(*args: Any) -> Message | None:
        found = look(*args)
        questions.answer(Message.objects.get(message_id=ask.id), {"answer": "in time"}, sender_session=child.id)
        lifecycle.finish(child.id, 1, "completed")
        return found

    with monkeypatch.context() as between:
        between.setattr(questions, "answer_to", late)
        assert session_questions.current_state(ask).status == "pending"
    assert session_questions.current_state(ask).status == "answered"


def test_a_plain_child_reads_the_question_and_has_no_way_to_answer(server: Server, child: Spawn, asker: Caller) -> None:
    ask_id = pending(asker, child.id)
    with server.plain(child) as peer:
        peer.hear("run")
        assert peer.hear("message")["text"] == "how far?"
        peer.say("terminal", status="completed")
        peer.code()
    assert standing(asker.look(child.id, ask_id)) == ("ended", None)


# --- without the held app, and in the rows --------------------------------------------------------------------------


def test_an_answer_is_let_go_with_admitted_messages(server: Server, child: Spawn, asker: Caller) -> None:
    ask_id = pending(asker, child.id)
    with server.child(child) as peer:
        reply(peer, peer.hear("message"), "kept for a while")
    kept = Message.objects.get(message_kind="reply")
    assert (kept.address.name, kept.state, kept.admitted_at is not None) == ("wardroom:answers", "admitted", True)
    assert (kept.sender_session, kept.correlation_id, kept.claimed_sender) == (str(child.id), ask_id, False)


def test_a_query_is_no_part_of_the_history_and_a_steer_is(server: Server, child: Spawn, asker: Caller) -> None:
    pending(asker, child.id, "beside", mode="query")
    pending(asker, child.id, "a turn", mode="steer")
    with server.child(child) as peer:
        for message in [peer.hear("message") for _ in range(2)]:
            reply(peer, message, "yes")
            peer.say("message_admitted", ids=[message["id"]])
        wait_until(lambda: not session_inbox.unadmitted(projects.default().pk, child.session.address))
    with server.child(child, run=False, need_run=True) as peer:
        run = peer.hear("run")
    assert [entry["content"] for entry in run["messages"]] == ["a turn"]


def test_the_verb_itself_refuses_what_another_project_has(child: Spawn) -> None:
    elsewhere = Project.objects.create(slug="elsewhere")
    with pytest.raises(Exception, match="nothing here"):
        session_questions.ask(elsewhere, child.id, questions.question("?"), TESTS)
    assert Session.objects.get(pk=child.id).attempt == 1
    assert not Credential.objects.filter(project=elsewhere).exists()
