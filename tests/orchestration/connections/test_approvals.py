"""Asking over the connection: registered, answered, acknowledged, consumed, whatever happens to the socket."""

from __future__ import annotations

import threading
import uuid
from datetime import timedelta
from typing import Any

import pytest

from accounts import projects
from accounts.actors import Actor
from approvals import decisions
from approvals.decision_validation import Answer
from approvals.models import Approval
from approvals.selectors import waiter_count, with_waiters
from core.db.clock import read_database_clock
from ledger import wakeups
from orchestration.connections import approvals, outgoing
from orchestration.sessions import lifecycle
from orchestration.states import Status
from tests.clock import call_at
from tests.orchestration.connections.conftest import Peer, Server, Spawn
from tests.waiting import chance, wait_until

BODY = {"tool_name": "shell", "permission": "shell.run", "resource": "host", "arguments": {"command": "ls"}}


def ask(peer: Peer, request: str = "", **body: Any) -> str:
    """Ask and be registered; the request's id."""
    request = request or str(uuid.uuid4())
    peer.say("approval_request", id=request, body={**BODY, **body})
    registered = peer.hear("approval_registered")
    assert (registered["id"], registered["status"]) == (request, "pending")
    return request


def decide(request: str, decision: str = "approve", **fields: Any) -> Approval:
    approval = Approval.objects.get(request_id=request)
    answer = Answer(decision=decision, digest=approval.digest, version=approval.version, **fields)
    return decisions.decide(projects.default().pk, approval.id, answer, STAFF(), "admin")


def STAFF() -> Actor:
    from accounts.models import User

    user, _ = User.objects.get_or_create(username="staff", is_superuser=True, is_staff=True)
    return Actor.of_user(user)


def waiters(request: str) -> int:
    return with_waiters(Approval.objects.filter(request_id=request)).get().waiters


def test_a_child_that_is_blocked_over_its_connection_counts_as_waiting(server: Server, child: Spawn) -> None:
    with server.child(child) as peer:
        request = ask(peer)
        assert waiters(request) == waiter_count(Approval.objects.all()) == 1
        peer.drop()
    wait_until(lambda: waiters(request) == 0)
    assert waiter_count(Approval.objects.all()) == 0
    with server.child(child, run=False):
        assert waiters(request) == 1
        decide(request)
        assert waiters(request) == 0


def test_a_gated_tool(server: Server, child: Spawn) -> None:
    with server.child(child) as peer:
        request = ask(peer)
        decide(request, message="go on")
        reply = peer.hear("approval_reply")
        assert (reply["id"], reply["approved"], reply["decision"]) == (request, True, "approved")
        assert (reply["arguments"], reply["message"]) == ({"command": "ls"}, "go on")
        peer.say("approval_ack", id=request, state="received")
        peer.say("approval_ack", id=request, state="consumed", digest=reply["digest"], claim="mine")
        assert peer.hear("approval_consumed")["id"] == request
        peer.say("terminal", status="completed")
        peer.hear("terminal_ack")
    approval = Approval.objects.get(request_id=request)
    assert approval.delivered_at is not None and approval.consumed_at is not None


def test_an_edit_is_what_is_replied(server: Server, child: Spawn) -> None:
    with server.child(child) as peer:
        request = ask(peer)
        decide(request, "edit", arguments={"command": "ls -l"})
        assert peer.hear("approval_reply")["arguments"] == {"command": "ls -l"}


def test_a_denial_carries_its_message_and_nothing_to_run(server: Server, child: Spawn) -> None:
    with server.child(child) as peer:
        request = ask(peer)
        decide(request, "deny", message="not today")
        reply = peer.hear("approval_reply")
        assert (reply["approved"], reply["decision"], reply["message"]) == (False, "denied", "not today")
        assert "arguments" not in reply


def test_the_answer_that_came_while_the_connection_was_down(server: Server, child: Spawn) -> None:
    with server.child(child) as peer:
        request = ask(peer)
        peer.drop()
        wait_until(lambda: child.attempt().connection_lost_at)
    decide(request, "deny")
    with server.child(child, run=False) as peer:
        assert peer.hear("approval_reply")["decision"] == "denied"
        peer.say("approval_ack", id=request, state="received")
        wait_until(lambda: Approval.objects.get(request_id=request).delivered_at)
    with server.child(child, run=False) as peer:
        assert peer.silent()


def test_a_decision_is_sent_once_per_connection_until_it_is_acknowledged(server: Server, child: Spawn) -> None:
    with server.child(child) as peer:
        request = ask(peer)
        decide(request)
        peer.hear("approval_reply")
        ask(peer)  # Wakes the feeder again.
        assert peer.silent()
    for _ in range(2):
        with server.child(child, run=False) as peer:
            assert peer.hear("approval_reply")["id"] == request


def test_need_run_gets_every_decision_that_is_not_consumed(server: Server, child: Spawn) -> None:
    with server.child(child) as peer:
        request = ask(peer)
        decide(request)
        peer.hear("approval_reply")
        peer.say("approval_ack", id=request, state="received")
        wait_until(lambda: Approval.objects.get(request_id=request).delivered_at)
    with server.child(child, run=False, need_run=True) as peer:
        assert peer.hear("run")["assignment"] == "do it"
        assert peer.hear("approval_reply")["id"] == request


def test_a_request_is_registered_before_it_is_answered_however_fast_the_answer_is(
    server: Server, child: Spawn, monkeypatch: pytest.MonkeyPatch
) -> None:
    register, urgent = approvals.register, outgoing.urgent
    decided, looked = threading.Event(), threading.Event()

    def slow_register(*args: Any, **kwargs: Any) -> Any:
        answers = register(*args, **kwargs)
        decide("fast")
        decided.set()
        wakeups.publish([f"session:{child.id}"])  # The decision's own wake-up may have been heard before this.
        assert looked.wait(20)
        chance(0.5)  # Whoever looked may write what it saw.
        return answers

    def noted_look(*args: Any, **kwargs: Any) -> Any:
        late = decided.is_set()
        try:
            return urgent(*args, **kwargs)
        finally:
            if late:
                looked.set()

    with server.child(child) as peer:
        monkeypatch.setattr(approvals, "register", slow_register)
        monkeypatch.setattr(outgoing, "urgent", noted_look)
        peer.say("approval_request", id="fast", body=BODY)
        peer.hear("approval_registered", timeout=25)
        assert peer.hear("approval_reply")["approved"] is True


def test_the_same_request_again_is_the_same_and_another_body_is_a_conflict(server: Server, child: Spawn) -> None:
    with server.child(child) as peer:
        request = ask(peer)
        assert ask(peer, request) == request
        peer.say("approval_request", id=request, body={**BODY, "resource": "elsewhere"})
        error = peer.hear("error")
        assert (error["code"], error["ref"]) == ("conflict", request)
    assert Approval.objects.count() == 1


def test_who_asks_again_is_told_again(server: Server, child: Spawn) -> None:
    with server.child(child) as peer:
        request = ask(peer)
        decide(request)
        peer.hear("approval_reply")
        peer.say("approval_ack", id=request, state="received")
        peer.say("approval_request", id=request, body=BODY)
        assert peer.hear("approval_registered")["status"] == "approved"
        assert peer.hear("approval_reply")["approved"] is True


@pytest.mark.parametrize(("claim", "again"), [("mine", "approval_consumed"), ("other", "error"), (None, "error")])
def test_the_same_claim_gets_the_execution_again_and_no_other(
    server: Server, child: Spawn, claim: str | None, again: str
) -> None:
    with server.child(child) as peer:
        request = ask(peer)
        decide(request)
        digest = peer.hear("approval_reply")["digest"]
        peer.say("approval_ack", id=request, state="consumed", digest=digest, claim="mine")
        peer.hear("approval_consumed")
        peer.drop()
    with server.child(child, run=False) as peer:
        peer.say("approval_ack", id=request, state="consumed", digest=digest, claim=claim)
        frame = peer.hear(again)
        assert frame.get("code") == ("consumed" if again == "error" else None)


@pytest.mark.parametrize("digest", [None, "0" * 64])
def test_nothing_is_consumed_without_the_digest_that_was_approved(
    server: Server, child: Spawn, digest: str | None
) -> None:
    with server.child(child) as peer:
        request = ask(peer)
        decide(request)
        peer.hear("approval_reply")
        peer.say("approval_ack", id=request, state="consumed", digest=digest, claim="mine")
        error = peer.hear("error")
        assert error["code"] == ("digest-mismatch" if digest else "invalid")
    assert Approval.objects.get().consumed_at is None


def test_a_denied_request_is_not_consumed(server: Server, child: Spawn) -> None:
    with server.child(child) as peer:
        request = ask(peer)
        decide(request, "deny")
        digest = peer.hear("approval_reply")["digest"]
        peer.say("approval_ack", id=request, state="consumed", digest=digest, claim="mine")
        assert peer.hear("error")["code"] == "not-approved"


def test_acknowledging_what_nobody_asked_is_refused(server: Server, child: Spawn) -> None:
    with server.child(child) as peer:
        peer.say("approval_ack", id="never", state="received")
        error = peer.hear("error")
        assert (error["code"], error["ref"]) == ("not-found", "never")


def test_a_withdrawn_request_is_cancelled(server: Server, child: Spawn) -> None:
    with server.child(child) as peer:
        request = ask(peer)
        peer.say("approval_withdraw", id=request, reason="found another way")
        assert peer.hear("approval_reply")["decision"] == "cancelled"
    assert Approval.objects.get().status == "cancelled"


def test_a_deadline_that_passes_while_a_child_waits_is_told_as_expired(server: Server, child: Spawn) -> None:
    with server.child(child) as peer:
        request = ask(peer, expires_in_secs=60)
        assert call_at(read_database_clock() + timedelta(seconds=61), decisions.expire_due) == 1
        reply = peer.hear("approval_reply")
        assert (reply["id"], reply["decision"]) == (request, "expired")
        assert "arguments" not in reply


def test_a_short_disconnect_cancels_nothing(server: Server, child: Spawn) -> None:
    with server.child(child) as peer:
        ask(peer)
        peer.drop()
        wait_until(lambda: child.attempt().connection_lost_at)
    assert Approval.objects.get().status == "pending"


def test_the_end_of_the_attempt_cancels_what_is_pending(server: Server, child: Spawn) -> None:
    with server.child(child) as peer:
        ask(peer)
        peer.say("terminal", status="completed")
        peer.hear_until("terminal_ack")  # the word that it was withdrawn may come first
    approval = Approval.objects.get()
    assert (approval.status, approval.cancel_reason) == ("cancelled", "attempt_ended")


def test_another_childs_request_cannot_be_named(server: Server, child: Spawn, spawn: Any) -> None:
    other = spawn()
    with server.child(child) as peer, server.child(other) as stranger:
        request = ask(peer)
        stranger.say("approval_withdraw", id=request)
        assert stranger.hear("error")["code"] == "not-found"
    assert Approval.objects.get().status == "pending"


def test_what_cannot_be_asked_is_refused_and_the_connection_stays(server: Server, child: Spawn) -> None:
    with server.child(child) as peer:
        peer.say("approval_request", id="r", body={**BODY, "arguments": {"n": 2**60}})
        assert peer.hear("error")["code"] == "invalid"
        ask(peer)


# --- plain children ------------------------------------------------------------------------------------------


def test_a_plain_child_asks_and_is_answered(server: Server, child: Spawn) -> None:
    with server.plain(child) as peer:
        peer.hear("run")
        peer.say("approval_request", id="one", body=BODY)
        wait_until(lambda: Approval.objects.filter(request_id="one").exists())
        decide("one")
        reply = peer.hear_until("approval_reply")
        assert (reply["id"], reply["approved"]) == ("one", True)
        wait_until(lambda: Approval.objects.get().consumed_at)
        peer.say("approval_request", id="one", body=BODY)
        again = peer.hear_until("approval_reply")
        assert again["approved"] is True
        assert again["arguments"] == reply["arguments"]
        peer.say("terminal", status="completed")
        assert peer.code() == 1000


def test_a_plain_child_reads_only_its_own_four_kinds(server: Server, child: Spawn) -> None:
    with server.plain(child) as peer:
        peer.hear("run")
        peer.say("event", event={"type": "note"})
        peer.say("approval_request", id="one", body=BODY)
        wait_until(lambda: Approval.objects.filter(request_id="one").exists())
        decide("one", "deny")
        assert peer.hear("approval_reply")["approved"] is False


def test_an_answer_of_an_earlier_attempt_is_never_sent(server: Server, child: Spawn) -> None:
    with server.child(child) as peer:
        request = ask(peer)
        decide(request)
        peer.hear("approval_reply")
    lifecycle.finish(child.id, 1, Status.ERROR)
    lifecycle.retry(projects.default(), child.id, STAFF())
    from orchestration.sessions import spawn as session_spawn

    fresh = session_spawn.fresh_token(projects.default(), child.id, STAFF()).child_token
    with server.knock(child, token=fresh) as peer:
        peer.say("hello", attempt=2)
        peer.hear("welcome")
        peer.hear("run")
        assert peer.silent()


def test_an_executor_states_the_preconditions_again(server: Server, child: Spawn) -> None:
    facts = [{"name": "git head", "value_hash": "a1", "shown": "main"}]
    with server.child(child) as peer:
        for found, kind in (("a1", "approval_consumed"), ("a2", "error")):
            request = ask(peer, preconditions=facts)
            decide(request)
            digest = peer.hear("approval_reply")["digest"]
            now = [{"name": "git head", "value_hash": found}]
            peer.say("approval_ack", id=request, state="consumed", digest=digest, claim="c", preconditions=now)
            assert peer.hear(kind).get("code") == (None if found == "a1" else "stale")
    stale = Approval.objects.get(request_id=request)
    assert (stale.stale or [{}])[0] == {"name": "git head", "reason": "changed", "approved": "a1", "stated": "a2"}
    assert stale.consumed_at is None


def taken(peer: Peer) -> str:
    request = ask(peer)
    approval = decide(request)
    assert peer.hear_until("approval_reply")["approved"]
    peer.say("approval_ack", id=request, state="consumed", digest=approval.digest, claim="mine")
    peer.hear_until("approval_consumed")
    return request


@pytest.mark.parametrize(("status", "outcome"), [(Status.ERROR, "unknown"), (Status.COMPLETED, "unreported")])
def test_an_end_between_the_consumption_and_the_report_is_an_unknown_outcome(
    server: Server, child: Spawn, status: Status, outcome: str
) -> None:
    with server.child(child) as peer:
        ended = taken(peer)
        peer.say("event", seq=1, event={"type": "tool_finished", "tool_name": "shell", "ok": False})
        peer.hear_until("event_ack")
        crashed = taken(peer)
        peer.say("event", seq=2, event={"type": "tool_finished", "tool_name": "shell", "ok": "yes"})
        peer.hear_until("event_ack")
        lifecycle.finish(child.id, 1, status)
    outcomes = dict(Approval.objects.values_list("request_id", "outcome"))
    assert outcomes == {ended: "failed", crashed: outcome}
