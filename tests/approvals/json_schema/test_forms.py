"""The page of a question draws a form from its schema, and sends the typed values."""

from __future__ import annotations

from typing import Any

import pytest
from django.test import Client

from tests.approvals.admin_page import page_of, press, text_of
from tests.approvals.conftest import Asked

pytestmark = pytest.mark.django_db

FORM = {
    "properties": {
        "region": {"enum": ["eu", "us", 3], "title": "<b>Region</b>"},
        "nodes": {"type": "integer", "minimum": 1, "maximum": 9, "description": "How many?"},
        "dry": {"type": "boolean"},
        "why": {"type": "string", "maxLength": 20},
        "much": {"type": "number"},
    },
    "required": ["region"],
}


def question(asked: Asked, **said: Any) -> Any:
    words = {"allowed_decisions": ["respond"], "arguments": None, "question": "Where to?", "response_schema": FORM}
    return asked(**words | said)


def test_the_page_draws_each_field_with_its_bounds(desk: Client, asked: Asked) -> None:
    shown = text_of(desk.get(page_of(question(asked))))
    assert "&lt;b&gt;Region&lt;/b&gt;" in shown
    assert "a whole number, 1 to 9" in shown
    assert "How many?" in shown
    for field in ("region", "nodes", "dry", "why", "much"):
        assert f'name="response:{field}"' in shown
    assert 'maxlength="20"' in shown
    assert '<option value="2">3</option>' in shown


def test_what_is_typed_is_the_response(desk: Client, asked: Asked) -> None:
    approval = question(asked)
    typed = {"region": "2", "nodes": "2.0", "dry": "1", "why": "because", "much": "-1.5e2"}
    shown = text_of(
        press(desk, approval, "respond", **{f"response:{name}": value for name, value in typed.items()}).client.get(
            page_of(approval)
        )
    )
    approval.refresh_from_db()
    assert approval.response == {"region": 3, "nodes": 2, "dry": False, "why": "because", "much": -150}
    assert "because" in shown


def test_a_refusal_names_the_field_and_keeps_what_was_typed(desk: Client, asked: Asked) -> None:
    approval = question(asked)
    refused = press(desk, approval, "respond", **{"response:region": "0", "response:nodes": "many"})
    assert refused.status_code == 422
    shown = text_of(refused)
    assert "response.nodes" in shown
    assert 'value="many"' in shown
    assert '<option value="0" selected>' in shown
    assert press(desk, approval, "respond").status_code == 422
    approval.refresh_from_db()
    assert (approval.status, approval.response) == ("pending", None)


def test_an_edit_on_the_page_is_checked_and_the_schema_is_shown(desk: Client, asked: Asked) -> None:
    schema = {"type": "object", "properties": {"folder": {"enum": ["/tmp"]}}}
    approval = asked(tool_schema=schema)
    assert "The tool&#x27;s schema" in text_of(desk.get(page_of(approval))) or "The tool's schema" in text_of(
        desk.get(page_of(approval))
    )
    refused = press(desk, approval, "edit", command="ls", arguments='{"folder": "/etc"}')
    assert refused.status_code == 422
    assert "arguments.folder" in text_of(refused)
    assert press(desk, approval, "edit", command="ls", arguments='{"folder": "/tmp"}').status_code == 302
