"""An approval as an interrupt of AG-UI 1.0 and its resume, checked by the models of the protocol's own package."""

from __future__ import annotations

from typing import Any

import pytest
from ag_ui.core import PROTOCOL_VERSION, Interrupt, RunAgentInput, RunFinishedEvent

from tests.servers.stack import House
from wardroom import Client
from wardroom.adapters import agui
from wardroom.approvals import decision_of
from wardroom.client import Problem

pytestmark = [pytest.mark.stack, pytest.mark.surface, pytest.mark.timeout(300)]
EDIT = {"command": "ls -l"}


@pytest.fixture
def client(house: House) -> Client:
    return Client(house.url, house.key)


def ask(client: Client, **fields: Any) -> dict[str, Any]:
    asked = {"tool_call_id": "call_1", "expires_in_secs": 600, **fields}
    return client.ask_approval("shell", {"command": "ls"}, permission="execute", resource="ls", **asked)


def resumed(entries: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return the entries as a client of AG-UI sends them."""
    words: dict[str, Any] = {"state": {}, "messages": [], "tools": [], "context": [], "forwarded_props": {}}
    sent = RunAgentInput(thread_id="t", run_id="r2", protocol_version=PROTOCOL_VERSION, resume=entries, **words)
    found: list[dict[str, Any]] = sent.model_dump(mode="json", by_alias=True, exclude_none=True)["resume"]
    return found


def interrupts_of(*approvals: dict[str, Any]) -> list[dict[str, Any]]:
    """Return the interrupts as they arrive, through the models of AG-UI."""
    event = RunFinishedEvent.model_validate(agui.run_finished("t", "r1", approvals))
    told = event.model_dump(mode="json", by_alias=True, exclude_none=True)
    assert told == agui.run_finished("t", "r1", approvals)
    found: list[dict[str, Any]] = told["outcome"]["interrupts"]
    return found


def test_a_pending_approval_is_an_interrupt_that_a_person_answers_in_the_application(client: Client) -> None:
    assert PROTOCOL_VERSION == "1.0"
    edited, denied, asked = ask(client), ask(client, allowed_decisions=["approve"]), ask_question(client)
    interrupts = interrupts_of(edited, denied, asked)
    assert [each["reason"] for each in interrupts] == ["tool_call", "tool_call", "input_required"]
    assert [each.get("toolCallId") for each in interrupts] == ["call_1", "call_1", None]
    assert ["editedArgs" in each["responseSchema"]["properties"] for each in interrupts] == [True, False, False]
    payloads = [{"approved": True, "editedArgs": EDIT}, {"approved": False, "message": "no"}, {"answer": "web2"}]
    entries = resumed(
        [
            {"interruptId": each["id"], "status": "resolved", "payload": payload}
            for each, payload in reversed(list(zip(interrupts, payloads, strict=True)))
        ]
    )
    decisions = agui.answers(interrupts, entries)
    for each in interrupts:
        agui.decide(client, each, decisions[each["id"]])
    settled = [client.approval(each["id"]) for each in (edited, denied, asked)]
    assert [each["status"] for each in settled] == ["approved", "denied", "approved"]
    assert client.consume_approval(decision_of(settled[0])) == EDIT
    # The way back: the answers of people are the resume of the next run.
    back = resumed(agui.resume(settled))
    assert [each["payload"] for each in back] == payloads
    assert agui.answers(interrupts, back) == decisions


def ask_question(client: Client) -> dict[str, Any]:
    return ask(client, allowed_decisions=["respond"], question="Which host?", tool_call_id=None)


def test_a_form_is_the_schema_of_the_answer(client: Client) -> None:
    form = {"type": "object", "properties": {"host": {"type": "string"}}, "required": ["host"]}
    asked = ask(client, allowed_decisions=["respond"], tool_call_id=None, response_schema=form)
    [shown] = interrupts_of(asked)
    assert shown["responseSchema"] == form
    answers = agui.answers([shown], [{"interruptId": asked["id"], "status": "resolved", "payload": {"host": "web2"}}])
    settled = agui.decide(client, shown, answers[asked["id"]])
    assert agui.resume([settled])[0]["payload"] == {"host": "web2"}


def test_an_answer_is_bound_to_what_was_shown(client: Client) -> None:
    asked = ask(client)
    [shown] = interrupts_of(asked)
    client.extend_approval(asked["id"], 900)
    with pytest.raises(Problem, match="version-conflict"):
        agui.decide(client, shown, {"decision": "approve"})


def test_a_request_that_nobody_answered_is_cancelled_and_not_denied(client: Client) -> None:
    asked = ask(client)
    with pytest.raises(agui.InvalidResume, match="nobody has answered"):
        agui.resume([asked])
    [entry] = resumed(agui.resume([client.withdraw_approval(asked["id"])]))
    assert (entry["status"], "payload" in entry) == ("cancelled", False)
    assert agui.answers(interrupts_of(asked), [entry]) == {asked["id"]: None}


def test_a_request_without_a_call_or_a_deadline_is_an_interrupt_too(client: Client) -> None:
    [shown] = interrupts_of(ask(client, tool_call_id=None, expires_in_secs=None))
    assert Interrupt.model_validate(shown).reason == "confirmation"
    assert "expiresAt" not in shown
    with pytest.raises(ValueError, match="waits for nothing"):
        agui.run_finished("t", "r", [])


@pytest.mark.parametrize(
    ("entries", "said"),
    [
        ([], "addresses every interrupt"),
        ([{"interruptId": "z", "status": "cancelled"}], "no interrupt has the id"),
        ([{"status": "cancelled"}] * 2, "answered twice"),
        ([{"status": "done", "payload": {"approved": True}}], "neither cancelled nor resolved"),
        ([{"status": "resolved"}], "neither cancelled nor resolved"),
        ([{"status": "resolved", "payload": {}}], "true or false"),
        ([{"status": "resolved", "payload": {"approved": 1}}], "true or false"),
        ([{"status": "resolved", "payload": {"approved": "true"}}], "true or false"),
        ([{"status": "resolved", "payload": {"approved": True, "editedArgs": "ls"}}], "cannot be edited"),
        ([{"status": "resolved", "payload": {"approved": False, "message": 5}}], "is a text"),
    ],
)
def test_a_resume_that_is_no_clear_answer_decides_nothing(entries: list[dict[str, Any]], said: str) -> None:
    schema: dict[str, Any] = {"properties": {"approved": {}, "editedArgs": {}}}
    asked = {"id": "a", "reason": "tool_call", "responseSchema": schema}
    with pytest.raises(agui.InvalidResume, match=said):
        agui.answers([asked], [{"interruptId": "a", **entry} for entry in entries])
