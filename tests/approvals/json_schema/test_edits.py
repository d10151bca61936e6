"""An edit fits the schema of its tool, and a response the form of its question."""

from __future__ import annotations

from typing import Any

import pytest

from accounts.models import Project, User
from approvals.models import Approval, ToolSchema
from core.web.problems import Problem
from tests.approvals.conftest import Asked
from tests.approvals.test_rest import Caller

pytestmark = pytest.mark.django_db

SCHEMA = {
    "type": "object",
    "properties": {"command": {"type": "string", "minLength": 1}, "folder": {"enum": ["/tmp", "/srv"]}},
    "required": ["command"],
    "additionalProperties": False,
}
FORM = {
    "properties": {
        "region": {"enum": ["eu", "us"], "title": "Region"},
        "nodes": {"type": "integer", "minimum": 1, "maximum": 9},
        "dry": {"type": "boolean"},
    },
    "required": ["region"],
}
ACTION = {"request_id": "r", "tool_name": "shell", "permission": "execute", "resource": "ls"}
QUESTION = ACTION | {"question": "Where to?", "allowed_decisions": ["respond"], "response_schema": FORM}


@pytest.fixture
def key(bearer: Any, project: Project, alice: User) -> Caller:
    return Caller(bearer(project, alice))


def ask(key: Any, **said: Any) -> Any:
    return key.post(body=ACTION | {"arguments": {"command": "ls"}, "tool_schema": SCHEMA} | said)


def edit(key: Any, asked: Any, arguments: Any) -> Any:
    body = {"decision": "edit", "digest": asked["digest"], "arguments": arguments}
    return key.post(f"/{asked['id']}/decide", body)


def test_an_edit_that_fits_runs_and_one_that_does_not_names_its_paths(key: Any) -> None:
    asked = ask(key).json()
    assert asked["has_tool_schema"] is True
    assert key.get(f"/{asked['id']}/tool-schema").json() == {"tool_schema": SCHEMA}
    refused = edit(key, asked, {"command": "", "folder": "/etc", "user": "root"})
    assert (refused.status_code, refused.json()["type"]) == (422, "invalid")
    fields = sorted(error["field"] for error in refused.json()["errors"])
    assert fields == ["arguments", "arguments.command", "arguments.folder"]
    assert key.get(f"/{asked['id']}").json()["status"] == "pending"
    edited = edit(key, asked, {"command": "ls -l", "folder": "/srv"}).json()
    assert (edited["status"], edited["arguments"]["command"]) == ("approved", "ls -l")
    assert edited["digest"] != asked["digest"] == edited["proposed_digest"]


def test_the_asked_arguments_must_fit_too(key: Any) -> None:
    refused = ask(key, arguments={"folder": "/tmp"})
    assert (refused.status_code, refused.json()["errors"][0]["field"]) == (422, "arguments")
    assert not Approval.objects.exists()
    assert ask(key, arguments=None).status_code == 422


def test_a_hostile_schema_is_refused_at_the_ask(key: Any) -> None:
    refused = ask(key, tool_schema={"properties": {"command": {"$ref": "#/properties"}}})
    assert refused.json()["errors"] == [{"field": "tool_schema.properties.command.$ref", "detail": "refers to itself"}]
    assert not ToolSchema.objects.exists()


def test_the_schema_is_part_of_the_request_and_not_of_the_digest(key: Any) -> None:
    first = ask(key).json()
    assert ask(key).json()["id"] == first["id"]
    assert ask(key, tool_schema={}).json()["type"] == "conflict"
    plain = ask(key, tool_schema=None, request_id="s").json()
    assert (plain["has_tool_schema"], edit(key, plain, {"any": 1}).status_code) == (False, 200)
    assert key.get(f"/{plain['id']}/tool-schema").json() == {"tool_schema": None}


def respond(key: Any, asked: Any, **said: Any) -> Any:
    return key.post(f"/{asked['id']}/decide", {"decision": "respond", **said})


def test_a_response_fits_its_form(key: Any) -> None:
    asked = key.post(body=QUESTION).json()
    assert asked["response_schema"] == FORM
    for response, field in (
        (None, "response"),
        ({}, "response"),
        ({"region": "asia"}, "response.region"),
        ({"region": "eu", "nodes": 10}, "response.nodes"),
        ({"region": "eu", "more": 1}, "response"),
    ):
        refused = respond(key, asked, message="eu", response=response)
        assert (refused.status_code, refused.json()["errors"][0]["field"]) == (422, field)
    answered = respond(key, asked, response={"region": "eu", "nodes": 2}).json()
    assert answered["decision"]["response"] == {"region": "eu", "nodes": 2}
    assert answered["decision"]["message"] is None
    assert respond(key, asked, response={"region": "eu", "nodes": 2}).status_code == 200
    assert respond(key, asked, response={"region": "us"}).json()["type"] == "already-decided"


def test_free_text_stays_without_a_form(key: Any) -> None:
    asked = key.post(body=QUESTION | {"response_schema": None}).json()
    refused = respond(key, asked, message="yes", response={"region": "eu"})
    assert [error["field"] for error in refused.json()["errors"]] == ["response"]
    assert respond(key, asked, message="yes").json()["decision"]["response"] is None


@pytest.mark.parametrize(
    ("form", "field"),
    [
        ({"properties": {}}, "response_schema.properties"),
        ({"properties": {"a": {"type": "object"}}}, "response_schema.properties.a.type"),
        ({"properties": {"a": {"type": "string", "pattern": "x"}}}, "response_schema.properties.a.pattern"),
        ({"properties": {"a": {"type": "string", "maximum": 3}}}, "response_schema.properties.a.maximum"),
        ({"properties": {"a": {"enum": []}}}, "response_schema.properties.a.enum"),
        ({"properties": {"a": {"enum": [{}]}}}, "response_schema.properties.a.enum[0]"),
        ({"properties": {"a": {"type": "string", "title": 5}}}, "response_schema.properties.a.title"),
        ({"properties": {"a": {"type": "string"}}, "required": ["b"]}, "response_schema.required"),
        ({"properties": {"a": {"type": "integer", "minimum": "x"}}}, "response_schema.properties.a.minimum"),
        ({"properties": {"a": {"type": "string"}}, "oneOf": []}, "response_schema.oneOf"),
        ({"properties": {str(number): {"type": "string"} for number in range(40)}}, "response_schema.properties"),
    ],
)
def test_a_schema_that_is_no_form_is_refused(key: Any, form: Any, field: str) -> None:
    refused = key.post(body=QUESTION | {"response_schema": form})
    assert (refused.status_code, refused.json()["errors"][0]["field"]) == (422, field)


def test_a_form_needs_a_response_among_the_decisions(asked: Asked) -> None:
    with pytest.raises(Problem) as refusal:
        asked(response_schema=FORM)
    assert refusal.value.extra["errors"][0]["field"] == "response_schema"
