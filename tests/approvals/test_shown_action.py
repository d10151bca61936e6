"""The page is drawn from the action: each difference of two actions is one of their pages."""

from __future__ import annotations

import re
from typing import Any

import pytest
from django.test import Client

from core.db.clock import clock_at
from tests.approvals.admin_page import page_of, text_of
from tests.approvals.conftest import NOON, Asked

pytestmark = [pytest.mark.django_db, pytest.mark.surface]

ARGUMENTS: dict[str, Any] = {
    "command": "make deploy",
    "cwd": "/srv",
    "env": {"LEVEL": "1", "list": [1, {"deep": None}]},
    "n": 1,
}
FACT = {"name": "head", "value_hash": "a1", "shown": "main"}
ACTION: dict[str, Any] = {
    "tool_name": "shell",
    "permission": "execute",
    "resource": "host-1",
    "arguments": ARGUMENTS,
    "tool_schema_version": "1",
    "preconditions": [FACT],
    "risk": "high",
    "reversibility": "irreversible",
}


def with_arguments(**changed: Any) -> dict[str, Any]:
    return {"arguments": {**ARGUMENTS, **changed}}


def with_env(**changed: Any) -> dict[str, Any]:
    return with_arguments(env={**ARGUMENTS["env"], **changed})


CHANGES: list[dict[str, Any]] = [
    {"tool_name": "Shell"},
    {"permission": "execute "},
    {"resource": "host-l"},
    {"tool_schema_version": "2"},
    {"risk": "critical"},
    {"reversibility": "reversible"},
    {"preconditions": [{**FACT, "shown": "main\u200b"}]},
    with_arguments(command="make  deploy"),
    with_arguments(command="make deploy\n"),
    with_arguments(cwd="/srv/"),
    with_arguments(n=True),
    with_arguments(n="1"),
    with_arguments(more=None),
    {"arguments": {name: value for name, value in ARGUMENTS.items() if name != "n"}},
    with_env(HIDDEN="x"),
    with_env(LEVEL="\u0661"),
    with_env(list=[1, {"deep": {}}]),
    with_env(list=[{"deep": None}, 1]),
]


def drawn(desk: Client, asked: Asked, **changed: Any) -> str:
    """Return the page of a request without the parts that no two requests share: ids, digests, times and tokens."""
    with clock_at(NOON):
        approval = asked(**ACTION | changed, request_id="same")
        text = text_of(desk.get(page_of(approval)))
    assert approval.digest in text
    for mark in (str(approval.id), str(approval.id)[:8], approval.digest):
        text = text.replace(mark, "")
    approval.delete()
    return re.sub(r'name="csrfmiddlewaretoken" value="\w+"|name="wr-now" content="[^"]+"', "", text)


def test_whatever_changes_in_an_action_changes_its_page(desk: Client, asked: Asked) -> None:
    shown = drawn(desk, asked)
    assert drawn(desk, asked) == shown, "the control: the same action has the same page"
    assert [changed for changed in CHANGES if drawn(desk, asked, **changed) == shown] == []
