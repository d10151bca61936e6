"""Every reader refuses a body in the same form: the field, the rule, and the value."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest

from core.web import faults
from tests.api import odd
from tests.mailbox.faces import Caller

pytestmark = pytest.mark.django_db

SESSION, DESK, ROW = f"sessions/{odd.NEVER}", "mailboxes/desk", f"quarantine/{odd.NEVER}"
DELIVER = f"{DESK}/messages"
SAID = re.compile(r"must be .+, and is .+|is no field of this call|must be strict JSON: .+")
PATH = re.compile(r'|[^.\[\]]+(\[\d+\]|\["[^"]*"\]|\.[^.\[\]]+)*')

ACTION = {"request_id": "r", "tool_name": "shell", "permission": "execute", "resource": "ls"}
TASK = {"message_kind": "task", "body": "do it"}
KINDS = "one of ask, handoff, mcp_reply, mcp_request, reply, task"
INSTRUCTION = "any JSON value but null"
UNKNOWN = "is no field of this call"


def must(right: str, came: str) -> str:
    return f"must be {right}, and is {came}"


WORD, WORDS = "a string of 1 to 256 characters", "a string of 1 to 256 characters, none of them invisible"
TABLE: list[tuple[str, Any, dict[str, str]]] = [
    # Missing.
    ("approvals", {**ACTION, "tool_name": None}, {"tool_name": must(WORD, "missing")}),
    (
        f"{DESK}/ack",
        {},
        {"claim": must("a string", "missing"), "ids": must("an array of at most 1000 items", "missing")},
    ),
    (f"{DESK}/reply", {"answer": 1}, {"ask_id": must("a string", "missing")}),
    (DELIVER, {"body": "x"}, {"message_kind": must(KINDS, "missing")}),
    (DELIVER, {"message_kind": "task"}, {"body": must(INSTRUCTION, "missing")}),
    (f"{SESSION}/messages", {"body": "x"}, {"message_kind": must(KINDS, "missing")}),
    (f"{SESSION}/messages", {"message_kind": "task"}, {"body": must("a JSON value", "missing")}),
    (f"{ROW}/discard", {}, {"note": must("a string of at most 10000 characters", "missing")}),
    # Of the wrong type.
    ("sessions", {"title": 1}, {"title": must("a string of at most 300 characters", "the number 1")}),
    ("sessions", {"metadata": []}, {"metadata": must("a JSON object", "an empty array")}),
    ("sessions", {"disabled_tools": ["a", 1]}, {"disabled_tools[1]": must(WORD, "the number 1")}),
    ("approvals", {**ACTION, "tool_name": 7}, {"tool_name": must(WORD, "the number 7")}),
    ("approvals", {**ACTION, "arguments": "x"}, {"arguments": must("a JSON object", "a string of 1 character")}),
    ("approvals", {**ACTION, "session": 7}, {"session": must("a UUID", "the number 7")}),
    (f"{SESSION}/cancel", {"cascade": "yes"}, {"cascade": must("true or false", "a string of 3 characters")}),
    (f"{SESSION}/wait", {"children": ["x"]}, {"children[0]": must("a UUID", "a string of 1 character")}),
    (
        f"{SESSION}/wait",
        {"timeout_secs": "5"},
        {"timeout_secs": must("a whole number from 1 to 604800", "a string of 1 character")},
    ),
    (
        f"{SESSION}/messages",
        {**TASK, "from": "x"},
        {"from": must("an object of session_id and role", "a string of 1 character")},
    ),
    (
        f"{SESSION}/messages",
        {**TASK, "created_at": "today"},
        {"created_at": must(faults.MOMENT, "a string of 5 characters")},
    ),
    (DELIVER, {**TASK, "id": 7}, {"id": must(WORDS, "the number 7")}),
    (DELIVER, {**TASK, "from": []}, {"from": must("an object of session_id and role", "an empty array")}),
    (DELIVER, {"messages": 7}, {"messages": must("an array of 1 to 1000 messages", "the number 7")}),
    (
        f"{DESK}/ack",
        {"claim": "c", "ids": ["a", 1]},
        {"ids[1]": must("a string of at most 256 characters", "the number 1")},
    ),
    (f"{DESK}/drain", {"limit": True}, {"limit": must("a whole number from 1 to 1000", "true")}),
    # Unknown.
    ("sessions", {"runner": "external", "titel": "x"}, {"titel": UNKNOWN}),
    ("sessions", {"runner": "external", "a.b": 1}, {'["a.b"]': UNKNOWN}),
    ("approvals", {**ACTION, "expires": 1}, {"expires": UNKNOWN}),
    (f"{DESK}/drain", {"limt": 1, "lease": 1}, {"limt": UNKNOWN, "lease": UNKNOWN}),
    (DELIVER, {**TASK, "from": {"": 1, "sesion": 1}}, {'from[""]': UNKNOWN, "from.sesion": UNKNOWN}),
    (f"{SESSION}/messages", {**TASK, "from": {"": 1, "sesion": 1}}, {'from[""]': UNKNOWN, "from.sesion": UNKNOWN}),
    # Too long.
    (
        "sessions",
        {"title": "x" * 301},
        {"title": must("a string of at most 300 characters", "a string of 301 characters")},
    ),
    ("sessions", {"command": []}, {"command": must("an array of 1 to 256 items", "an empty array")}),
    ("approvals", {**ACTION, "permission": "x" * 257}, {"permission": must(WORD, "a string of 257 characters")}),
    (
        f"{DESK}/drain",
        {"consumer": "x" * 257},
        {"consumer": must("a string of at most 256 characters", "a string of 257 characters")},
    ),
    (DELIVER, {**TASK, "id": "x" * 257}, {"id": must(WORDS, "a string of 257 characters")}),
    # Out of range.
    ("sessions", {"runner": "x"}, {"runner": must("one of process, external", "'x'")}),
    (
        "approvals",
        {**ACTION, "expires_in_secs": 0},
        {"expires_in_secs": must("a whole number from 1 to 34560000", "the number 0")},
    ),
    ("approvals", {**ACTION, "risk": "huge"}, {"risk": must("one of low, medium, high, critical", "none of them")}),
    (f"{SESSION}/wait", {"timeout_secs": 0}, {"timeout_secs": must("a whole number from 1 to 604800", "the number 0")}),
    (f"{DESK}/drain", {"limit": 0}, {"limit": must("a whole number from 1 to 1000", "the number 0")}),
    (DELIVER, {**TASK, "message_kind": "order"}, {"message_kind": must(KINDS, "none of them")}),
]
CALLS = ["sessions", "approvals", f"{SESSION}/cancel", f"{SESSION}/wait", f"{SESSION}/messages"]
CALLS += [f"{DESK}/{operation}" for operation in ("drain", "recover", "ack", "nack", "extend", "reply")]
HELD = [f"{SESSION}/ask", DELIVER]
SHAPES = {"[]": "an empty array", '"x"': "a string of 1 character", "7": "the number 7", "true": "true"}


def errors(answer: Any) -> list[dict[str, str]]:
    assert (answer.status_code, answer.json()["type"]) == (422, "invalid"), answer.content
    found: list[dict[str, str]] = answer.json()["errors"]
    for each in found:
        assert SAID.fullmatch(each["detail"]), each
        assert PATH.fullmatch(each["field"]) or each["field"].startswith('["'), each
    return found


IN_VIEWS = [row for row in TABLE if row[0] != DELIVER]


@pytest.mark.parametrize(("path", "body", "expected"), IN_VIEWS, ids=lambda each: str(each)[:60])
def test_a_wrong_field_is_told_in_one_way(caller: Caller, path: str, body: Any, expected: dict[str, str]) -> None:
    found = errors(caller.post(f"/api/v1/{path}", body))
    assert {each["field"]: each["detail"] for each in found} == expected


@pytest.mark.parametrize("path", CALLS)
def test_what_is_no_object_or_no_json_is_told_in_one_way(caller: Caller, path: str) -> None:
    for raw, came in SHAPES.items():
        found = errors(caller.post(f"/api/v1/{path}", raw=raw.encode()))
        assert found == [{"field": "", "detail": must("a JSON object", came)}]
    [error] = errors(caller.post(f"/api/v1/{path}", raw=b'{"a": '))
    assert error["detail"].startswith("must be strict JSON: not JSON")


@pytest.mark.django_db(transaction=True)
def test_calls_before_django_tell_it_in_the_same_way(far: Caller) -> None:
    for path in HELD:
        for raw, came in SHAPES.items():
            found = errors(far.post(f"/api/v1/{path}", raw=raw.encode()))
            assert found == [{"field": "", "detail": must("a JSON object", came)}], path
        [error] = errors(far.post(f"/api/v1/{path}", raw=b"{"))
        assert error["detail"].startswith("must be strict JSON: not JSON")
    for path, body, expected in (row for row in TABLE if row[0] == DELIVER):
        assert {each["field"]: each["detail"] for each in errors(far.post(f"/api/v1/{path}", body))} == expected
    wrong = {"question": 7, "mode": 1, "timeout_secs": -1, "qestion": "x"}
    assert {each["field"]: each["detail"] for each in errors(far.post(f"/api/v1/{SESSION}/ask", wrong))} == {
        "qestion": UNKNOWN,
        "question": must("a string", "the number 7"),
        "mode": must("a string", "the number 1"),
        "timeout_secs": must("a number from 0 to 300", "the number -1"),
    }


def test_a_path_is_read_as_one() -> None:
    path = faults.step(faults.step(faults.step("", "items"), 0), "due")
    assert path == "items[0].due"
    assert faults.step("a", "b.c") == 'a["b.c"]'
    assert faults.step("", 'say "hi"') == '["say \\"hi\\""]'


def test_what_came_is_never_repeated(caller: Caller) -> None:
    secret = "wr_key_abc_" + "s" * 300
    answer = caller.post("/api/v1/sessions", {"title": secret, "runner": secret, "parent": secret})
    assert "sss" not in json.dumps(answer.json())
