"""Grants and plans over the connection: an announced or remembered call is registered as approved, and runs once."""

from __future__ import annotations

import uuid
from typing import Any

from approvals.models import Approval
from tests.orchestration.connections.conftest import Peer, Server, Spawn
from tests.orchestration.connections.test_approvals import ask, decide
from tests.waiting import wait_until

MILD = {"risk": "low", "reversibility": "reversible"}
BODY: dict[str, Any] = {"tool_name": "shell", "permission": "shell.run", "resource": "host", **MILD}
BODY["arguments"] = {"command": "ls"}


def passes(peer: Peer) -> None:
    """Ask for the command again, get the answer at once, and take the one execution."""
    request = str(uuid.uuid4())
    peer.say("approval_request", id=request, body=BODY)
    assert peer.hear("approval_registered")["status"] == "approved"
    reply = peer.hear("approval_reply")
    assert (reply["approved"], reply["arguments"]) == (True, {"command": "ls"})
    peer.say("approval_ack", id=request, state="consumed", digest=reply["digest"], claim="mine")
    assert peer.hear("approval_consumed")["id"] == request


def test_a_remembered_call_runs_without_a_person(server: Server, child: Spawn) -> None:
    with server.child(child) as peer:
        request = ask(peer, **MILD)
        decide(request, remember={"scope": "session", "uses": 1})
        peer.hear("approval_reply")
        passes(peer)
        assert Approval.objects.filter(rule__startswith="grant:", consumed_at__isnull=False).count() == 1
        ask(peer, **MILD)


def test_the_calls_of_a_plan_run_and_the_plan_does_not(server: Server, child: Spawn) -> None:
    with server.child(child) as peer:
        plan = ask(peer, tool_name="plan", arguments=None, plan={"steps": [BODY]})
        decide(plan)
        reply = peer.hear("approval_reply")
        assert (reply["approved"], reply["arguments"]["steps"][0]["count"]) == (True, 1)
        peer.say("approval_ack", id=plan, state="consumed", digest=reply["digest"], claim="mine")
        assert peer.hear("error")["code"] == "not-approved"
        passes(peer)
        ask(peer, **MILD)
    assert Approval.objects.get(request_id=plan).consumed_at is None


def test_a_plain_child_has_its_calls_answered_at_once(server: Server, child: Spawn) -> None:
    with server.plain(child) as peer:
        peer.hear("run")
        peer.say(
            "approval_request",
            id="plan",
            body={**BODY, "tool_name": "plan", "arguments": None, "plan": {"steps": [BODY]}},
        )
        decide_when_asked("plan")
        assert peer.hear_until("approval_reply")["approved"] is True
        peer.say("approval_request", id="call", body=BODY)
        reply = peer.hear_until("approval_reply")
        assert (reply["id"], reply["approved"]) == ("call", True)


def decide_when_asked(request: str) -> None:
    wait_until(lambda: Approval.objects.filter(request_id=request).exists())
    decide(request)
