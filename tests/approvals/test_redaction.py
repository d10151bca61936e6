"""Secrets of a request: hidden in every copy, kept in the stored action, and shown to the asker that runs it."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any
from uuid import UUID

import pytest
from django.test import Client
from django.urls import reverse

from accounts.models import Project, User
from approvals.adminsite import response_form
from approvals.display import copies
from approvals.models import Approval
from ledger.models import AuditEntry
from tests.approvals.admin_page import page_of, press, text_of
from tests.approvals.conftest import Asked, Browser, staff
from tests.approvals.test_rest import Caller
from wardroom import jcs

pytestmark = pytest.mark.django_db

SECRET = "hunter" + "2hunter2"
ARGUMENTS = {"command": f"PASSWORD={SECRET} make", "password": SECRET, "folder": "/tmp"}
SHOWN = {"command": "PASSWORD=[redacted 1] make", "password": "[redacted 2]", "folder": "/tmp"}
Bearer = Callable[..., dict[str, str]]


@pytest.fixture
def planted(asked: Asked) -> Approval:
    return asked(
        via="rest", arguments=ARGUMENTS, resource=f"PASSWORD={SECRET} make", question=f"my password: {SECRET} is it"
    )


@pytest.fixture
def asker(bearer: Bearer, project: Project, session: UUID) -> Caller:
    """The session that asked, by its token."""
    return Caller(bearer(project, session=session))


@pytest.fixture
def key(bearer: Bearer, project: Project, alice: User) -> Caller:
    """A person's key that may look and answer."""
    return Caller(bearer(project, alice))


@pytest.fixture
def keeper(project: Project) -> User:
    """May answer, and see hidden values."""
    return staff("keeper", project, "ask", "view_approval", "decide", "view_secrets")


def looks() -> list[str]:
    return list(AuditEntry.objects.filter(action="approval.revealed").values_list("actor", flat=True))


def test_others_get_a_copy_without_secrets_and_the_asker_the_action(key: Any, asker: Any, planted: Approval) -> None:
    for body in (key.get(f"/{planted.id}").json(), key.get("").json()["results"][0]):
        assert body["arguments"] == SHOWN
        assert SECRET not in str(body)
        assert (body["redacted"], body["digest"]) == (3, planted.digest)
    own = asker.post("", said(planted)).json()
    assert (own["arguments"], own["redacted"], own["digest"]) == (ARGUMENTS, 0, planted.digest)
    planted.refresh_from_db()
    assert jcs.digest_of(planted.action) == planted.digest and SECRET in planted.action


def said(planted: Approval) -> dict[str, Any]:
    """The same ask again."""
    return {
        "request_id": planted.request_id,
        "tool_name": "shell",
        "permission": "execute",
        "resource": planted.resource,
        "question": planted.question,
        "arguments": ARGUMENTS,
    }


def test_the_asker_gets_what_runs_from_its_execution(key: Any, asker: Any, planted: Approval) -> None:
    decided = key.post(f"/{planted.id}/decide", {"decision": "approve", "digest": planted.digest})
    assert decided.status_code == 200 and SECRET not in decided.content.decode()
    assert decided.json()["decision"]["arguments"] == SHOWN
    taken = asker.post(f"/{planted.id}/consume", {"digest": planted.digest})
    assert taken.json()["decision"]["arguments"] == taken.json()["arguments"] == ARGUMENTS


def test_another_caller_takes_hidden_values_only_with_the_right_to_see_them(
    key: Any, bearer: Bearer, project: Project, keeper: User, planted: Approval
) -> None:
    key.post(f"/{planted.id}/decide", {"decision": "approve", "digest": planted.digest})
    refused = key.post(f"/{planted.id}/consume", {"digest": planted.digest})
    assert (refused.status_code, refused.json()["type"]) == (403, "forbidden")
    planted.refresh_from_db()
    assert planted.consumed_at is None and looks() == []
    executor: Any = Caller(bearer(project, keeper))
    taken = executor.post(f"/{planted.id}/consume", {"digest": planted.digest})
    assert taken.json()["arguments"] == ARGUMENTS
    assert len(looks()) == 1


def test_a_late_answer_shows_no_secret(key: Any, planted: Approval) -> None:
    key.post(f"/{planted.id}/decide", {"decision": "approve", "digest": planted.digest})
    late = key.post(f"/{planted.id}/decide", {"decision": "deny"})
    assert late.status_code == 409 and late.json()["approval"]["decision"]["arguments"] == SHOWN


def test_revealing_needs_its_own_right_and_is_recorded(
    key: Any, bearer: Bearer, project: Project, keeper: User, planted: Approval
) -> None:
    assert key.post(f"/{planted.id}/reveal", {}).status_code == 403
    only: Any = Caller(bearer(project, keeper, scopes=["approvals:decide"]))
    assert only.post(f"/{planted.id}/reveal", {}).status_code == 403
    assert looks() == []
    shown = Caller(bearer(project, keeper)).post(f"/{planted.id}/reveal", {})
    assert (shown.json()["arguments"], shown.json()["resource"]) == (ARGUMENTS, planted.resource)
    assert shown["Cache-Control"] == "no-store"
    [row] = AuditEntry.objects.filter(action="approval.revealed")
    assert row.subject == f"approval:{planted.id}" and SECRET not in row.detail


def test_an_edit_of_the_copy_keeps_the_hidden_values(key: Any, asker: Any, planted: Approval) -> None:
    changed = SHOWN | {"command": "PASSWORD=[redacted 1] make all", "folder": "/srv"}
    body = {"decision": "edit", "digest": planted.digest, "arguments": changed}
    edited = key.post(f"/{planted.id}/decide", body)
    assert edited.status_code == 200, edited.content
    assert edited.json()["arguments"] == changed and edited.json()["proposed_arguments"] == SHOWN
    planted.refresh_from_db()
    assert planted.arguments == ARGUMENTS | {"command": f"PASSWORD={SECRET} make all", "folder": "/srv"}
    assert jcs.digest_of(planted.action) == planted.digest == edited.json()["digest"]
    # The same edit by the same person again is the same decision.
    assert key.post(f"/{planted.id}/decide", body).status_code == 200
    assert key.post(f"/{planted.id}/decide", body | {"arguments": SHOWN}).status_code == 409
    taken = asker.post(f"/{planted.id}/consume", {"digest": planted.digest})
    assert taken.json()["arguments"] == planted.arguments


@pytest.mark.parametrize(
    ("field", "value"),
    [("folder", "[redacted 2]"), ("command", "echo [redacted 1]"), ("password", "[redacted 7]")],
)
def test_a_placeholder_out_of_its_place_is_refused(key: Any, planted: Approval, field: str, value: str) -> None:
    body = {"decision": "edit", "digest": planted.digest, "arguments": SHOWN | {field: value}}
    refused = key.post(f"/{planted.id}/decide", body)
    assert refused.status_code == 422
    assert [error["field"] for error in refused.json()["errors"]] == [f"arguments.{field}"]
    planted.refresh_from_db()
    assert planted.status == "pending"


# --- the admin --------------------------------------------------------------------------------------


def test_the_pages_hide_secrets_and_say_so(desk: Client, planted: Approval) -> None:
    shown = text_of(desk.get(page_of(planted)))
    assert SECRET not in shown
    assert "3 values are hidden" in shown and planted.digest in shown
    assert "approvals.view_secrets" in shown
    for name in ("approvals_approval_part", "approvals_approval_queue", "approvals_approval_changelist"):
        args = [planted.id] if name.endswith("part") else []
        assert SECRET not in text_of(desk.get(reverse(f"admin:{name}", args=args)))


def test_a_form_that_is_sent_back_as_it_came_keeps_the_hidden_values(desk: Client, planted: Approval) -> None:
    press(desk, planted, "edit", command="PASSWORD=[redacted 1] make x", arguments='{"password": "[redacted 2]"}')
    planted.refresh_from_db()
    assert planted.arguments == {"command": f"PASSWORD={SECRET} make x", "password": SECRET}
    shown = text_of(desk.get(page_of(planted)))
    assert SECRET not in shown and "PASSWORD=[redacted 1] make x" in shown


def test_showing_hidden_values_is_a_post_with_its_own_right(
    desk: Client, browser: Browser, keeper: User, planted: Approval
) -> None:
    address = reverse("admin:approvals_approval_reveal", args=[planted.id])
    assert desk.post(address).status_code == 403
    able = browser(keeper)
    assert able.get(address).status_code == 302 and looks() == []
    assert "Show the hidden values" in text_of(able.get(page_of(planted)))
    shown = able.post(address)
    assert SECRET in text_of(shown) and "no-store" in shown["Cache-Control"]
    assert looks() == [f"user:{keeper.pk}"]
    assert SECRET not in text_of(able.get(page_of(planted)))


def test_a_request_without_secrets_is_shown_as_it_is(key: Any, desk: Client, asked: Asked) -> None:
    plain = asked(arguments={"command": "ls", "max_tokens": 5})
    body = key.get(f"/{plain.id}").json()
    assert (body["arguments"], body["redacted"]) == ({"command": "ls", "max_tokens": 5}, 0)
    shown = text_of(desk.get(page_of(plain)))
    assert "data-redacted" not in shown and "data-reveal" not in shown


def test_the_texts_of_schemas_are_copies_too(
    asked: Asked, asker: Caller, key: Caller, desk: Client, project: Project
) -> None:
    token = "ghp_" + "a1B2" * 9
    tool = {"type": "object", "properties": {"password": {"type": "string", "description": f"as {token}"}}}
    form = {"type": "object", "properties": {"code": {"type": "string", "title": f"Code of {token}"}}}
    edited = asked(via="rest", tool_schema=tool, arguments={"password": "x"})
    question = asked(via="rest", allowed_decisions=["respond"], response_schema=form, arguments=None)
    path = f"/{edited.id}/tool-schema"
    assert asker.get(path).json()["tool_schema"] == tool
    shown = key.get(path).json()["tool_schema"]
    assert shown["properties"]["password"] == {"type": "string", "description": "as [redacted]"}
    assert asker.get(f"/{question.id}/wait", timeout=0).json()["response_schema"] == form
    assert token not in json.dumps(key.get(f"/{question.id}").json())
    for approval in (edited, question):
        assert token not in text_of(desk.get(page_of(approval)))


@pytest.mark.parametrize(
    "schema",
    [
        {"properties": {"password": {"default": SECRET}}},
        {"properties": {"password": {"const": SECRET}}},
        {"properties": {"password": {"enum": [SECRET, "x"]}}},
        {"properties": {"db_password": {"examples": [SECRET], "example": SECRET}}},
        {"properties": {"password": {"anyOf": [{"const": SECRET}, {"type": "null"}]}}},
        {"properties": {"secret": {"properties": {"value": {"default": SECRET}}, "items": {"const": SECRET}}}},
        {"default": {"user": "ann", "password": SECRET}},
        {"properties": {"login": {"examples": [{"password": SECRET}]}}},
        {"$defs": {"api_key": {"default": SECRET}}},
        {"patternProperties": {"password": {"default": SECRET}}},
        {"properties": {"password": {"$ref": "#/$defs/plain"}}, "$defs": {"plain": {"default": SECRET}}},
        {
            "$defs": {"c": {"const": SECRET}, "b": {"$ref": "#/$defs/c"}, "a": {"$ref": "#/$defs/b"}},
            "properties": {"password": {"items": {"$ref": "#/$defs/a"}}},
        },
        {
            "$defs": {
                **{f"d{n}": {"$ref": f"#/$defs/d{n - 1}"} for n in range(1, 9)},
                "d0": {"const": SECRET},
            },
            "properties": {"password": {"$ref": "#/$defs/d8"}},
        },
        {"properties": {"password": {"$ref": "#/$defs/a~1b%20c"}}, "$defs": {"a/b c": {"default": SECRET}}},
        {"properties": {"password": {"$ref": "#/properties/x"}, "x": {"default": SECRET}}},
        {"properties": {"password": {"$ref": "#/allOf/0"}}, "allOf": [{"items": {"const": SECRET}}]},
        {"properties": {"password": {"$ref": "#/$defs/g/items"}}, "$defs": {"g": {"items": {"const": SECRET}}}},
        {"properties": {"password": {"$ref": "#word"}}, "$defs": {"x": {"$anchor": "word", "const": SECRET}}},
        {"properties": {"password": {"$ref": "#/type/x"}, "x": {"const": SECRET}}, "type": "object"},
    ],
)
def test_a_schema_shows_no_value_of_a_secret_field(schema: dict[str, Any]) -> None:
    assert SECRET not in json.dumps(copies.schema(schema))


def test_a_schema_shows_every_other_value() -> None:
    schema = {
        "type": "object",
        "default": {"folder": "/tmp"},
        "properties": {
            "default": {"const": "main"},
            "enum": {"type": "string", "enum": ["a", "b"]},
            "password": {"type": "string", "minLength": 8, "title": "Your word"},
            "max_tokens": {"default": 5},
        },
        "required": ["password"],
        "$defs": {"plain": {"default": "x"}},
    }
    assert copies.schema(schema) == schema


def test_a_choice_of_a_secret_field_is_a_number() -> None:
    [field] = response_form.fields({"properties": {"password": {"enum": [SECRET, 7]}}}, {})
    assert field.options == (("0", "[redacted 1]"), ("1", "[redacted 2]"))
    [plain] = response_form.fields({"properties": {"branch": {"enum": ["main", f"password={SECRET}"]}}}, {})
    assert plain.options[0] == ("0", "main") and SECRET not in plain.options[1][1]
    schema = {"properties": {"password": {"enum": [SECRET, 7]}}}
    assert response_form.response(schema, {f"{response_form.PREFIX}password": "0"}) == {"password": SECRET}
