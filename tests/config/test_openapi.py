"""The OpenAPI document: it is what the code says now, and real answers are what it says."""

from __future__ import annotations

from typing import Any

import jsonschema
import pytest
import yaml
from django.core.management import call_command
from rest_framework import serializers

from accounts import projects, scopes
from accounts.outlines import outline
from mailbox import quarantine
from tests.house.sources import ROOT
from tests.mailbox.faces import Caller, Django

DOCUMENT = ROOT / "docs" / "openapi.yaml"
API = "/api/v1"
DESK = f"{API}/mailboxes/desk"
TASK = {"id": "a", "message_kind": "task", "body": "do it", "from": {"role": "boss"}, "correlation_id": "c"}
ASK = {"id": "q", "message_kind": "ask", "body": {"question": "why?", "mode": "query"}}
ACTION = {"request_id": "r", "tool_name": "shell", "permission": "execute", "resource": "ls", "arguments": {"a": 1}}

# What can be read of one session, and of them all.
READINGS = [
    ("sessions_list", f"{API}/sessions"),
    ("sessions_get", "{one}"),
    ("sessions_attempts", "{one}/attempts"),
    ("session_history", "{one}/history"),
    ("session_events", "{one}/events"),
    ("feed", f"{API}/feed"),
    ("snapshot", f"{API}/snapshot"),
]


class Document:
    """The document that is handed out, and whether an answer is what it says."""

    def __init__(self, said: dict[str, Any]) -> None:
        self.components = said["components"]
        self.schemas = self.components["schemas"]
        self.operations = {
            operation["operationId"]: operation for path in said["paths"].values() for operation in path.values()
        }
        for schema in self.schemas.values():
            if "properties" in schema:
                schema["additionalProperties"] = False

    def checked(self, operation: str, answer: Any) -> Any:
        """The answer's body, once it has every member that is required there, and none that is not named."""
        content = self.operations[operation]["responses"][str(answer.status_code)]["content"]
        schema = content["application/json"]["schema"] | {"components": self.components}
        jsonschema.validate(answer.json(), schema, jsonschema.Draft202012Validator)
        return answer.json()


@pytest.fixture
def document() -> Document:
    return Document(yaml.safe_load(DOCUMENT.read_text()))


@pytest.fixture
def caller(db: None) -> Caller:
    return Caller(Django(), projects.default().pk, scopes=scopes.ALL)


def test_the_document_is_what_the_code_says(tmp_path):
    made = tmp_path / "openapi.yaml"
    call_command("spectacular", validate=True, fail_on_warn=True, file=str(made))
    assert made.read_text() == DOCUMENT.read_text(), "run `make openapi`"


def test_answers_of_the_mailbox_are_what_the_document_says(document, caller):
    document.checked("mailbox_deliver", caller.post(f"{DESK}/messages", TASK))
    many = document.checked("mailbox_deliver", caller.post(f"{DESK}/messages", {"messages": [ASK, {}]}))
    assert [each["status"] for each in many["results"]] == [201, 422]
    assert len(document.checked("mailbox_messages", caller.get(f"{DESK}/messages"))["results"]) == 2
    document.checked("mailbox_drain", caller.post(f"{DESK}/drain", {"limit": 1, "consumer": "me"}))
    claim = document.checked("mailbox_recover", caller.post(f"{DESK}/recover", {"consumer": "me"}))["claim"]
    assert document.checked("mailbox_extend", caller.post(f"{DESK}/extend", {"claim": claim}))["ids"] == ["a"]
    nacked = caller.post(f"{DESK}/nack", {"claim": claim, "ids": ["a", "b"], "delay_secs": 60})
    assert document.checked("mailbox_nack", nacked) == {"nacked": ["a"], "unknown": ["b"]}
    claim = document.checked("mailbox_drain", caller.post(f"{DESK}/drain", {}))["claim"]
    document.checked("mailbox_asked", caller.get(f"{DESK}/asks/q"))
    document.checked("mailbox_reply", caller.post(f"{DESK}/reply", {"ask_id": "q", "answer": "so"}))
    assert document.checked("mailbox_asked", caller.get(f"{DESK}/asks/q"))["answer"] == "so"
    document.checked("mailbox_ack", caller.post(f"{DESK}/ack", {"claim": claim, "ids": ["q"]}))
    document.checked("mailbox_drain", caller.post(f"{DESK}/drain", {}))
    document.checked("mailbox_counts", caller.get(DESK))


def test_answers_of_quarantine_are_what_the_document_says(document, caller):
    row, other = (quarantine.put(projects.default().pk, raw, "amqp", "cut off") for raw in (b"{", b"["))
    assert len(document.checked("quarantine_list", caller.get(f"{API}/quarantine"))["results"]) == 2
    document.checked("quarantine_get", caller.get(f"{API}/quarantine/{row.id}"))
    document.checked("quarantine_discard", caller.post(f"{API}/quarantine/{row.id}/discard", {"note": "noise"}))
    edited = {"message": {"message_kind": "task", "body": "x"}, "address": "desk"}
    document.checked("quarantine_requeue", caller.post(f"{API}/quarantine/{other.id}/requeue", edited))


def test_answers_of_approvals_are_what_the_document_says(document, caller):
    asked = document.checked("approvals_ask", caller.post(f"{API}/approvals", ACTION))
    other = document.checked("approvals_ask", caller.post(f"{API}/approvals", ACTION | {"request_id": "s"}))
    one = f"{API}/approvals/{asked['id']}"
    document.checked("approvals_wait", caller.get(f"{one}/wait", timeout=0))
    approval = {"decision": "approve", "digest": asked["digest"]}
    decided = document.checked("approvals_decide", caller.post(f"{one}/decide", approval))
    assert (decided["status"], decided["decision"]["kind"]) == ("approved", "approve")
    document.checked("approvals_get", caller.get(one))
    document.checked("approvals_consume", caller.post(f"{one}/consume", {"digest": asked["digest"]}))
    document.checked("approvals_withdraw", caller.post(f"{API}/approvals/{other['id']}/withdraw", {}))
    assert len(document.checked("approvals_list", caller.get(f"{API}/approvals"))["results"]) == 2
    document.checked("approvals_count", caller.get(f"{API}/approvals/count"))


def test_answers_of_sessions_and_the_feed_are_what_the_document_says(document, caller):
    spawned = caller.post(f"{API}/sessions", {"assignment": "look", "runner": "external"})
    one = f"{API}/sessions/{document.checked('sessions_spawn', spawned)['id']}"
    for operation, path in READINGS:
        document.checked(operation, caller.get(path.format(one=one)))


def test_the_limits_of_the_mailbox_calls_are_in_the_document(document):
    nack = document.schemas["MailboxNack"]["properties"]
    assert (nack["ids"]["maxItems"], nack["ids"]["items"]["maxLength"]) == (1000, 256)
    assert (nack["delay_secs"]["minimum"], nack["delay_secs"]["maximum"]) == (0, 2_592_000)
    assert document.schemas["MailboxAck"]["properties"]["ids"]["maxItems"] == 1000
    for name in ("MailboxDrain", "MailboxRecover"):
        assert document.schemas[name]["properties"]["consumer"]["maxLength"] == 256
    assert document.schemas["NewMessages"]["properties"]["messages"]["maxItems"] == 1000


def test_fields_serve_two_outlines_and_two_names():
    text = serializers.CharField()
    fields = {"one": text, "other": text}
    for name in ("First", "Second"):
        made = outline(name, fields)
        assert [field.field_name for field in made.fields.values()] == ["one", "other"]
