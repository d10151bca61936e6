"""The metadata of a session: every stored value is safe for every sweep and every reader."""

from __future__ import annotations

import json
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from rest_framework.test import APIClient

from core.web import problems
from orchestration.models import Session
from orchestration.sessions import spawn as session_spawn
from orchestration.sessions.spawn import SpawnOrder
from tests.orchestration import stages
from tests.orchestration.conftest import problem

pytestmark = pytest.mark.django_db

TOTAL = "child_watchdog.max_total_secs"
NAMES = [TOTAL, "child_watchdog.max_idle_secs", "child_watchdog.check_interval_secs"]
MONTH = 30 * 86400
BEYOND = [MONTH + 1, 10**14, 10**4000, "2592001", " 0100000000000000 ", "9" * 5000, 2592000.5, 1e15]


def short(value: object) -> str:
    return str(value)[:20]


def order(metadata: str) -> bytes:
    return f'{{"role": "runbook", "assignment": "echo hello", "metadata": {metadata}}}'.encode()


def spawn(client: APIClient, metadata: str) -> Any:
    return client.post("/api/v1/sessions", order(metadata), content_type="application/json")


def refused(answer: Any) -> list[dict[str, str]]:
    assert problem(answer) == (422, "invalid"), answer.content
    assert not Session.objects.exclude(assignment="parent").exists()
    errors: list[dict[str, str]] = answer.json()["errors"]
    return errors


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("value", BEYOND, ids=short)
def test_a_limit_of_over_thirty_days_is_refused_with_the_bound(owner: APIClient, name: str, value: Any) -> None:
    errors = refused(spawn(owner, json.dumps({name: value})))
    named = [error for error in errors if error["field"] == f"metadata.{name}"]
    assert [error["detail"] for error in named] == ["more than 2592000 seconds (30 days)"]


@pytest.mark.parametrize("number", ["1e400", "9" * 5000, "-1e400", "1e15", "NaN", "Infinity"], ids=short)
def test_a_number_that_is_none_is_refused_as_a_limit(owner: APIClient, number: str) -> None:
    assert refused(spawn(owner, f'{{"{TOTAL}": {number}}}'))


@pytest.mark.parametrize(
    "value", [MONTH, str(MONTH), f" {MONTH} ", "0" * 5000 + "9", 5, 1.5, -1, "1e3", True, None], ids=short
)
def test_a_limit_up_to_thirty_days_and_what_is_no_limit_are_kept(owner: APIClient, value: Any) -> None:
    answer = spawn(owner, json.dumps({TOTAL: value}))
    assert answer.status_code == 201, answer.content
    assert answer.json()["metadata"] == {TOTAL: value}


@pytest.mark.parametrize(
    ("metadata", "field", "told"),
    [
        ({TOTAL: "ten"}, f"metadata.{TOTAL}", "and is a string of 3 characters; the limit of 3600 s applies"),
        ({TOTAL: -1}, f"metadata.{TOTAL}", "and is the number -1; the limit of 3600 s applies"),
        ({TOTAL: True}, f"metadata.{TOTAL}", "and is true; the limit of 3600 s applies"),
        ({TOTAL: "0"}, f"metadata.{TOTAL}", "and is a string of 1 character; the limit of 3600 s applies"),
        (
            {"child_watchdog": {"max_total_secs": 5}},
            "metadata.child_watchdog",
            "are child_watchdog.check_interval_secs,",
        ),
        ({"child_watchdog.max_secs": 5}, "metadata.child_watchdog.max_secs", "are child_watchdog.check_interval_secs,"),
    ],
    ids=short,
)
def test_a_limit_that_is_ignored_is_told(owner: APIClient, metadata: Any, field: str, told: str) -> None:
    answer = spawn(owner, json.dumps(metadata)).json()
    [warning] = answer["warnings"]
    assert warning["field"] == field
    assert warning["detail"].startswith("is ignored: ") and told in warning["detail"]
    assert owner.get(f"/api/v1/sessions/{answer['id']}").json()["warnings"] == [warning]


@pytest.mark.parametrize(
    "metadata", [{}, {TOTAL: 5}, {TOTAL: " 5 "}, {TOTAL: None}, {"child": -1, "x.child_watchdog": 1}]
)
def test_a_session_without_ignored_limits_has_no_warnings(owner: APIClient, metadata: Any) -> None:
    assert spawn(owner, json.dumps(metadata)).json()["warnings"] == []


def test_the_warnings_about_many_names_are_few_and_short(owner: APIClient) -> None:
    metadata = {f"child_watchdog.{number}{'x' * 200}": 1 for number in range(200)}
    warnings = spawn(owner, json.dumps(metadata)).json()["warnings"]
    assert len(warnings) == 10
    assert max(len(each["field"]) for each in warnings) <= 140


def test_manage_spawn_tells_an_ignored_limit(capsys: pytest.CaptureFixture[str]) -> None:
    call_command("spawn", "echo hello", role="runbook", metadata=[f"{TOTAL}=ten"])
    said = capsys.readouterr()
    assert "session: " in said.out
    assert said.err.startswith(f"warning: metadata.{TOTAL}: is ignored: ")


def test_a_child_is_refused_as_its_owner_is(child_of: Any) -> None:
    parent = stages.running(assignment="parent")
    assert refused(spawn(child_of(parent), f'{{"{TOTAL}": {10**14}}}'))


@pytest.mark.parametrize("number", ["9007199254740992", "-9007199254740992", "9" * 4000, "1e300", "1e16"], ids=short)
def test_a_number_that_another_reader_would_change_is_refused(owner: APIClient, number: str) -> None:
    errors = refused(spawn(owner, f'{{"a": [{{"b": {number}}}]}}'))
    assert errors == [{"field": "metadata", "detail": "a number beyond 9007199254740991; write it as a string"}]


def test_the_largest_numbers_come_back_as_they_were_sent(owner: APIClient) -> None:
    metadata = {"most": 2**53 - 1, "least": -(2**53 - 1), "small": 5e-324, "half": 0.5}
    assert spawn(owner, json.dumps(metadata)).json()["metadata"] == metadata


def test_more_keys_or_bytes_than_the_bound_are_refused_and_as_many_are_kept(owner: APIClient) -> None:
    many = {str(number): {"x": 1} for number in range(500)}
    large = {"text": "x" * (64 * 1024 - len('{"text": ""}'))}
    assert refused(spawn(owner, json.dumps({**many, "one more": 1})))[0]["detail"] == "more than 1000 keys"
    assert refused(spawn(owner, json.dumps({"text": large["text"] + "x"})))[0]["detail"] == "more than 65536 bytes"
    assert spawn(owner, json.dumps(many)).status_code == 201
    assert spawn(owner, json.dumps(large)).status_code == 201


@pytest.mark.parametrize("value", [float("inf"), float("nan"), object(), "\0", "\ud800", {1: 2}])
def test_the_python_face_refuses_what_json_cannot_carry(db: None, value: Any) -> None:
    with pytest.raises(problems.Problem) as refusal:
        session_spawn.spawn(
            stages.project(), SpawnOrder(role="runbook", assignment="x", metadata={"a": value}), stages.ACTOR
        )
    assert refusal.value.status == 422


def test_the_command_refuses_what_the_call_refuses(db: None) -> None:
    with pytest.raises(CommandError, match=r"metadata\.child_watchdog\.max_total_secs: more than 2592000 seconds"):
        call_command("spawn", "echo hello", "--role=runbook", f"--metadata={TOTAL}={'9' * 5000}")
    assert not Session.objects.exists()
