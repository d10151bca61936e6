"""A request for a disabled tool is denied at once, by the rule, over each channel."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import httpx
import pytest

from approvals import askers
from approvals.models import Approval
from ledger.models import AuditEntry, Event
from tests.orchestration.connections.conftest import Server, Spawn

BODY = {"tool_name": "shell", "permission": "shell.run", "resource": "host", "arguments": {"command": "ls"}}
REASON = "The tool shell is disabled for this session."


@pytest.fixture
def child(spawn: Callable[..., Spawn]) -> Spawn:
    return spawn(disabled_tools=("rm", "shell"))


def row() -> dict[str, Any]:
    approval = Approval.objects.get()
    return {
        "status": approval.status,
        "via": approval.decided_via,
        "rule": approval.rule,
        "by": (approval.decided_by or {}).get("name"),
        "message": approval.message,
    }


DENIED = {
    "status": "denied",
    "via": "rule",
    "rule": "disabled_tools",
    "by": "the rule disabled_tools",
    "message": REASON,
}


def test_over_the_connection(server: Server, child: Spawn) -> None:
    with server.child(child) as peer:
        peer.say("approval_request", id="one", body=BODY)
        assert peer.hear("approval_registered")["status"] == "denied"
        reply = peer.hear("approval_reply")
        assert (reply["approved"], reply["decision"], reply["message"]) == (False, "denied", REASON)
        peer.say("approval_ack", id="one", state="received")
        peer.say("approval_request", id="one", body=BODY)
        peer.hear("approval_registered")
        assert peer.hear("approval_reply")["decision"] == "denied"
    assert row() == DENIED
    assert Event.objects.filter(type="approval_decided").count() == 1
    assert AuditEntry.objects.filter(action="approval.decided", detail__contains="disabled_tools").count() == 1


def test_in_the_plain_dialect(server: Server, child: Spawn) -> None:
    with server.plain(child) as peer:
        peer.hear("run")
        peer.say("approval_request", id="one", body=BODY)
        reply = peer.hear_until("approval_reply")
        assert (reply["approved"], reply["message"]) == (False, REASON)
    assert row() == DENIED


def test_by_rest(server: Server, child: Spawn) -> None:
    with server.child(child):
        answer = httpx.post(
            f"http://127.0.0.1:{server.port}/api/v1/approvals",
            json={**BODY, "request_id": "one"},
            headers={"Authorization": f"Bearer {child.token}", "Host": "testserver"},
        )
    assert (answer.status_code, answer.json()["status"]) == (202, "denied")
    assert answer.json()["decision"]["via"] == "rule"
    assert row() == DENIED


def test_another_tool_waits_for_a_person(server: Server, child: Spawn) -> None:
    with server.child(child) as peer:
        peer.say("approval_request", id="one", body={**BODY, "tool_name": "Shell"})
        assert peer.hear("approval_registered")["status"] == "pending"


def test_without_the_rule_a_person_would_be_asked(
    server: Server, child: Spawn, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(askers, "_facts_of", None)
    with server.child(child) as peer:
        peer.say("approval_request", id="one", body=BODY)
        assert peer.hear("approval_registered")["status"] == "pending"
