"""The OpenAPI document is made from the current code, and real answers agree with it."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import jsonschema
import msgspec
import pytest
from django.core.management import call_command
from django.test import override_settings
from django.urls import path
from rest_framework.response import Response

from accounts import projects, scopes
from accounts.views import ProjectView
from config import asgi_routes
from mailbox import quarantine
from mailbox.api import bodies as api_bodies
from orchestration.api import bodies as session_bodies
from tests.document import PATH, PROBLEM, Document
from tests.mailbox.faces import Caller, Django, serving

API = "/api/v1"

pytestmark = pytest.mark.surface
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


class Closed(Document):
    """The document, with no member of an answer left unsaid."""

    def __init__(self, said: dict[str, Any]) -> None:
        super().__init__(said)
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
def document() -> Closed:
    return Closed.read()


@pytest.fixture
def caller(db: None) -> Caller:
    return Caller(Django(), projects.default().pk, scopes=scopes.ALL)


@pytest.fixture
def far(transactional_db: None) -> Iterator[Caller]:
    """Somebody at a web process: a delivery has a commit of its own."""
    with serving() as server:
        yield Caller(server, projects.default().pk, scopes=scopes.ALL)


def test_the_document_is_what_the_code_says(tmp_path: Path) -> None:
    made = tmp_path / "openapi.yaml"
    call_command("spectacular", validate=True, fail_on_warn=True, file=str(made))
    assert made.read_text() == PATH.read_text(), "run `make openapi`"


def test_every_call_names_its_refusals_as_problem_documents(document: Closed) -> None:
    for name, operation in document.operations.items():
        answers = operation["responses"]
        assert {"422", "429", "503"} <= set(answers), name
        assert ("security" in operation) == ({"401", "403"} <= set(answers)) == (name != "schema"), name
        assert ("{" not in document.path(name)) or "404" in answers, name
        for status in (status for status in answers if status >= "400"):
            answer = document.resolved(answers[status])
            assert list(answer["content"]) == [PROBLEM], f"{name} {status}"
            problem = document.resolved(answer["content"][PROBLEM]["schema"])
            assert problem["properties"]["status"]["enum"] == [int(status)]
            assert problem["properties"]["type"]["enum"], f"{name} {status}"


def test_every_call_names_the_scope_that_it_needs_once(document: Closed) -> None:
    assert document.operations["sessions_spawn"]["security"] == [{"bearer": ["sessions:write"]}]
    assert document.operations["approvals_decide"]["security"] == [{"bearer": []}]
    assert all(len(each["security"]) == 1 for name, each in document.operations.items() if name != "schema")


def test_what_is_answered_before_django_is_in_the_document_too(document: Closed) -> None:
    answered = {re.sub(r"\{(\w+):\w+\}", r"{\1}", route.path) for route in asgi_routes.routes()}
    rest = {path for path in answered if path.startswith("/api/")}
    assert rest <= set(document.said["paths"])
    report = document.resolved({"$ref": "#/components/schemas/AttemptExitedBody"})
    checked = jsonschema.Draft202012Validator(report)
    assert checked.is_valid({"exit_status": 3, "stderr_tail": "x"}) and checked.is_valid({"exit_signal": 9})
    assert not checked.is_valid({}) and not checked.is_valid({"exit_status": 3, "exit_signal": 9})


def test_calls_that_honour_a_key_say_so_with_what_comes_of_it(document: Closed) -> None:
    keyed = {name for name, operation in document.operations.items() if "Idempotency-Key" in _parameters(operation)}
    assert {"sessions_spawn", "sessions_cancel", "sessions_ask", "approvals_ask", "approvals_decide"} <= keyed
    for name in keyed:
        answers = document.operations[name]["responses"]
        assert "Idempotency-Replayed" in next(iter(answers.values()))["headers"], name
        problem = document.resolved(answers["409"]["content"][PROBLEM]["schema"])
        assert "still-running" in problem["properties"]["type"]["enum"], name


def _parameters(operation: Any) -> dict[str, Any]:
    return {parameter["name"]: parameter for parameter in operation.get("parameters", [])}


def test_the_feed_and_a_session_s_events_are_streams_too(document: Closed) -> None:
    for name in ("feed", "session_events"):
        answer = document.operations[name]["responses"]["200"]
        assert set(answer["content"]) == {"application/json", "text/event-stream"}
        assert "Last-Event-ID" in _parameters(document.operations[name])


@pytest.mark.parametrize(
    "status, kind, headers, wrong",
    [
        (404, "not-found", {}, None),
        (418, "teapot", {}, "418 is none of"),
        (404, "lost", {}, "the problem lost is none of not-found"),
        (401, "unauthenticated", {}, "without WWW-Authenticate"),
        (404, "not-found", {"Content-Type": "text/html"}, "text/html is none of"),
    ],
)
def test_an_answer_that_is_not_in_the_document_is_found(
    document: Closed, status: int, kind: str, headers: Any, wrong: str | None
) -> None:
    headers = {"Content-Type": PROBLEM} | headers
    found = document.untrue("GET", f"{API}/sessions/{uuid4()}", status, headers, lambda: {"type": kind})
    assert found is None if wrong is None else wrong in found


def test_an_answer_that_is_not_in_the_document_fails_the_test_that_got_it(caller: Caller) -> None:
    class Confused(ProjectView):
        """A view with an undocumented answer."""

        permission_classes = []

        def get(self, request: pytest.FixtureRequest) -> Response:
            return Response({}, status=418)

    urls = type("Urls", (), {"urlpatterns": [path("api/v1/feed", Confused.as_view())]})
    with override_settings(ROOT_URLCONF=urls), pytest.raises(AssertionError, match="418 is none of"):
        caller.get(f"{API}/feed")


def test_answers_of_the_mailbox_are_what_the_document_says(document: Closed, far: Caller) -> None:
    document.checked("mailbox_deliver", far.post(f"{DESK}/messages", TASK))
    many = document.checked("mailbox_deliver", far.post(f"{DESK}/messages", {"messages": [ASK, {}]}))
    assert [each["status"] for each in many["results"]] == [201, 422]
    assert len(document.checked("mailbox_messages", far.get(f"{DESK}/messages"))["results"]) == 2
    document.checked("mailbox_drain", far.post(f"{DESK}/drain", {"limit": 1, "consumer": "me"}))
    claim = document.checked("mailbox_recover", far.post(f"{DESK}/recover", {"consumer": "me"}))["claim"]
    assert document.checked("mailbox_extend", far.post(f"{DESK}/extend", {"claim": claim}))["ids"] == ["a"]
    nacked = far.post(f"{DESK}/nack", {"claim": claim, "ids": ["a", "b"], "delay_secs": 60})
    assert document.checked("mailbox_nack", nacked) == {"nacked": ["a"], "unknown": ["b"]}
    claim = document.checked("mailbox_drain", far.post(f"{DESK}/drain", {}))["claim"]
    document.checked("mailbox_asked", far.get(f"{DESK}/asks/q"))
    document.checked("mailbox_reply", far.post(f"{DESK}/reply", {"ask_id": "q", "answer": "so"}))
    assert document.checked("mailbox_asked", far.get(f"{DESK}/asks/q"))["answer"] == "so"
    document.checked("mailbox_ack", far.post(f"{DESK}/ack", {"claim": claim, "ids": ["q"]}))
    document.checked("mailbox_drain", far.post(f"{DESK}/drain", {}))
    document.checked("mailbox_counts", far.get(DESK))


def test_answers_of_quarantine_are_what_the_document_says(document: Closed, caller: Caller) -> None:
    row, other = (quarantine.put(projects.default().pk, raw, "amqp", "cut off") for raw in (b"{", b"["))
    assert len(document.checked("quarantine_list", caller.get(f"{API}/quarantine"))["results"]) == 2
    document.checked("quarantine_get", caller.get(f"{API}/quarantine/{row.id}"))
    document.checked("quarantine_discard", caller.post(f"{API}/quarantine/{row.id}/discard", {"note": "noise"}))
    edited = {"message": {"message_kind": "task", "body": "x"}, "address": "desk"}
    document.checked("quarantine_requeue", caller.post(f"{API}/quarantine/{other.id}/requeue", edited))


def test_answers_of_approvals_are_what_the_document_says(document: Closed, caller: Caller) -> None:
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


def test_answers_of_sessions_and_the_feed_are_what_the_document_says(document: Closed, caller: Caller) -> None:
    spawned = caller.post(f"{API}/sessions", {"assignment": "look", "runner": "external"})
    one = f"{API}/sessions/{document.checked('sessions_spawn', spawned)['id']}"
    for operation, place in READINGS:
        answer = caller.get(place.format(one=one))
        assert answer.status_code == 200, operation
        document.checked(operation, answer)


def test_the_limits_of_the_mailbox_calls_are_in_the_document(document: Closed) -> None:
    nack = document.schemas["MailboxNack"]["properties"]
    assert (nack["ids"]["maxItems"], nack["ids"]["items"]["maxLength"]) == (1000, 256)
    assert (nack["delay_secs"]["minimum"], nack["delay_secs"]["maximum"]) == (0, 2_592_000)
    assert document.schemas["MailboxAck"]["properties"]["ids"]["maxItems"] == 1000
    for name in ("MailboxDrain", "MailboxRecover"):
        assert document.schemas[name]["properties"]["consumer"]["maxLength"] == 256
    assert document.schemas["NewMessages"]["properties"]["messages"]["maxItems"] == 1000


@pytest.mark.parametrize(
    "order, component",
    [
        (api_bodies.MailboxDrain, "MailboxDrain"),
        (api_bodies.MailboxRecover, "MailboxRecover"),
        (api_bodies.MailboxAck, "MailboxAck"),
        (api_bodies.MailboxNack, "MailboxNack"),
        (api_bodies.MailboxExtend, "MailboxExtend"),
        (api_bodies.MailboxReply, "MailboxReply"),
        (api_bodies.QuarantineRequeue, "QuarantineRequeue"),
        (api_bodies.QuarantineDiscard, "QuarantineDiscard"),
        (session_bodies.AskBody, "AskBody"),
    ],
)
def test_a_body_is_bounded_in_the_document_as_where_it_is_read(document: Closed, order: Any, component: str) -> None:
    read = msgspec.json.schema(order)["$defs"][order.__name__]["properties"]
    said = document.schemas[component]["properties"]
    assert set(read) == set(said)
    for field, schema in read.items():
        for variant in schema.get("anyOf", [schema]):
            for bound in {"minimum", "maximum", "maxLength", "maxItems"} & set(variant):
                assert said[field][bound] == variant[bound], f"{field} {bound}"


def test_every_text_of_a_body_is_bounded_by_what_can_be_stored(document: Closed) -> None:
    for name, schema in document.schemas.items():
        if schema.get("additionalProperties") is False and name in _asked_for(document):
            for field, said in schema["properties"].items():
                kinds = said.get("type", ())
                text = kinds == "string" or "string" in kinds
                assert not text or {"pattern", "enum", "format"} & set(said), f"{name}.{field}"


def _asked_for(document: Any) -> set[Any]:
    bodies = [each["requestBody"] for each in document.operations.values() if "requestBody" in each]
    schemas = [body["content"]["application/json"]["schema"] for body in bodies]
    return {part["$ref"].rsplit("/", 1)[1] for schema in schemas for part in schema.get("oneOf", [schema])}


def test_every_parameter_has_bounds_or_words(document: Closed) -> None:
    free = {"role", "tool", "Last-Event-ID"}
    for name, operation in document.operations.items():
        for parameter in operation.get("parameters", []):
            schema = parameter["schema"]
            bounded = {"minimum", "maxLength", "pattern", "enum", "format"} & set(schema)
            assert bounded or schema["type"] == "boolean" or parameter["name"] in free, f"{name} {parameter['name']}"
