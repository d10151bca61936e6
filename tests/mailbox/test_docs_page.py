"""docs/mailbox.md: its Python runs, and its bounds are those of the code."""

from __future__ import annotations

import re
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from uuid import UUID

import pytest

from mailbox import claims
from tests.mailbox.faces import Caller
from tests.mailbox.test_api import DESK, GOOD

pytestmark = pytest.mark.django_db
PAGE = (Path(__file__).parents[2] / "docs" / "mailbox.md").read_text()


class Idle(Exception):
    """Nothing is left, so the consumer of the page would pause."""


def pause(secs: Any) -> None:
    raise Idle


@pytest.mark.django_db(transaction=True)
def test_its_python_runs_from_top_to_bottom(project: UUID, capsys: pytest.CaptureFixture[str]) -> None:
    handled: list[Any] = []
    names: dict[str, Any] = {"handle": handled.append, "time": SimpleNamespace(sleep=pause)}
    blocks = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
    assert len(blocks) == 5
    for block in blocks:
        hurried = block.replace("timeout_secs=10", "timeout_secs=0").replace("wait(60)", "wait(0)")
        try:
            exec(hurried, names)
        except Idle:
            names["desk"].deliver({"message_kind": "task", "body": "the next"})
    assert handled == ["look into it"]
    assert names["asked"].status == "pending"
    assert "conflict 409" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("broken", "told"),
    [
        ('"\\u0000"', "NUL"),
        ("NaN", "NaN"),
        ('{"a": 1, "a": 2}', "duplicate key"),
        ("[" * 62 + "]" * 62, "levels"),
        ("{" + ", ".join(f'"{number}": 1' for number in range(9_999)) + "}", "keys"),
    ],
)
def test_what_is_not_strict_json_refuses_the_whole_request(caller: Caller, broken: str, told: str) -> None:
    raw = f'{{"messages": [{{"id": "1", "message_kind": "task", "body": "good"}}, {{"body": {broken}}}]}}'
    answer = caller.post(f"{DESK}/messages", raw=raw.encode())
    assert answer.status_code == 422
    [error] = answer.json()["errors"]
    assert told in error["detail"], error
    assert caller.get(DESK).json()["new"] == 0


def test_who_it_is_from_is_content_and_when_it_was_made_is_not(caller: Caller) -> None:
    assert caller.post(f"{DESK}/messages", GOOD).status_code == 201
    assert caller.post(f"{DESK}/messages", GOOD | {"created_at": "2026-01-31T12:00:00Z"}).status_code == 201
    assert caller.post(f"{DESK}/messages", GOOD | {"from": {"role": "boss"}}).status_code == 409
    assert caller.post("/api/v1/mailboxes/other/messages", GOOD).status_code == 409


def test_the_bounds_it_names_are_those_of_the_calls() -> None:
    for bound in (claims.LONGEST_LEASE, claims.LONGEST_DELAY):
        assert f"{bound:,}" in PAGE
