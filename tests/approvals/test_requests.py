"""Requests are durable, idempotent, bounded, and read in one way only."""

from __future__ import annotations

import hashlib
import json
from typing import Any
from uuid import UUID, uuid4

import pytest

from accounts.actors import Actor
from accounts.models import Project, User
from approvals import attempt_clock, requests
from approvals.canonical_action import Ask
from approvals.models import Approval, Subject
from core.web.problems import Problem
from ledger.models import AuditEntry, Event
from tests.approvals.conftest import Asked, child

pytestmark = pytest.mark.django_db


def test_a_request_is_pending_with_its_event_and_its_audit_row(asked: Asked, project: Project) -> None:
    approval = asked(risk="high", question="May I?")
    assert (approval.status, approval.version, approval.risk) == ("pending", 1, "high")
    assert Event.objects.get(project=project, type="approval_requested").payload["approval_id"] == str(approval.id)
    assert AuditEntry.objects.get(project=project).action == "approval.requested"


def test_the_event_never_holds_arguments(asked: Asked, project: Project) -> None:
    asked(arguments={"command": "cat secret-word"}, resource="secret-word", question="secret-word")
    assert "secret-word" not in json.dumps(list(Event.objects.values_list("payload", flat=True)))
    assert "secret-word" not in json.dumps(list(AuditEntry.objects.values_list("detail", flat=True)))


def test_the_digest_is_that_of_the_ten_keys_in_canonical_form(asked: Asked, project: Project, session: UUID) -> None:
    approval = asked(request_id="r", arguments={"b": 1.0, "a": "é"})
    canonical = (
        '{"arguments":{"a":"é","b":1},"attempt":1,"permission":"execute",'
        f'"project":"{project.pk}","request_id":"r","resource":"ls -l","session":"{session}",'
        '"tool_name":"shell","tool_schema_version":null,"v":1}'
    )
    assert approval.action == canonical
    assert approval.digest == hashlib.sha256(canonical.encode()).hexdigest()


def test_the_same_request_twice_is_one_row(asked: Asked) -> None:
    first, second = asked(request_id="r"), asked(request_id="r")
    assert first.id == second.id
    assert Approval.objects.count() == 1
    assert Subject.objects.get().pending == 1


@pytest.mark.parametrize(
    "other",
    [
        {"arguments": {"command": "rm -rf /"}},
        {"question": "Please?"},
        {"tool_name": "sh"},
        {"resource": "x"},
        {"permission": "x"},
        {"risk": "high"},
        {"expires_in_secs": 5},
        {"allowed_decisions": ["deny"]},
        {"tool_call_id": "x"},
        {"tool_schema_version": "2"},
    ],
)
def test_the_same_id_with_another_body_is_a_conflict(asked: Asked, other: Any) -> None:
    asked(request_id="r")
    with pytest.raises(Problem) as refusal:
        asked(request_id="r", **other)
    assert (refusal.value.type, refusal.value.status) == ("conflict", 409)


def test_another_attempt_may_use_the_same_id(asked: Asked, project: Project, session: UUID) -> None:
    attempt_clock.open(project.pk, session, 2)
    assert asked(request_id="r").id != asked(request_id="r", attempt=2).id


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("request_id", ""),
        ("request_id", "x" * 257),
        ("request_id", 7),
        ("request_id", None),
        ("tool_name", None),
        ("tool_name", ""),
        ("permission", []),
        ("resource", None),
        ("resource", "x" * 20_000),
        ("question", 5),
        ("arguments", [1]),
        ("arguments", "ls"),
        ("arguments", {"n": 2**53}),
        ("arguments", {"n": float("nan")}),
        ("arguments", {"n": "\0"}),
        ("arguments", {"n": "\ud800"}),
        ("arguments", {"n": "x" * 600_000}),
        ("tool_call_id", 1),
        ("tool_schema_version", 1),
        ("risk", "harmless"),
        ("risk", 1),
        ("expires_in_secs", 0),
        ("expires_in_secs", -1),
        ("expires_in_secs", True),
        ("expires_in_secs", 1.5),
        ("expires_in_secs", 10**12),
        ("allowed_decisions", []),
        ("allowed_decisions", "approve"),
        ("allowed_decisions", ["maybe"]),
        ("allowed_decisions", [{}]),
        ("allowed_decisions", ["respond", "approve"]),
        ("allowed_decisions", ["respond", {}]),
        ("allowed_decisions", ["respond", []]),
        ("allowed_decisions", ["deny"] * 17),
    ],
)
def test_what_is_not_a_request_is_refused_and_nothing_is_stored(asked: Asked, field: str, value: Any) -> None:
    with pytest.raises(Problem) as refusal:
        asked(**{field: value})
    assert refusal.value.status == 422
    assert refusal.value.extra["errors"]
    assert not Approval.objects.exists()
    assert Subject.objects.get().pending == 0


@pytest.mark.parametrize("field", ["request_id", "tool_name", "permission", "resource", "question", "tool_call_id"])
def test_nul_and_lone_surrogates_are_refused_in_every_text(asked: Asked, field: str) -> None:
    for broken in ("a\0b", "a\ud800b"):
        with pytest.raises(Problem) as refusal:
            asked(**{field: broken})
        assert refusal.value.status == 422
    assert not Approval.objects.exists()


def test_an_action_can_always_be_denied_and_a_question_only_answered(asked: Asked) -> None:
    assert asked(allowed_decisions=["approve"]).allowed_decisions == ["approve", "deny"]
    assert asked(allowed_decisions=["respond"]).allowed_decisions == ["respond"]
    assert asked().allowed_decisions == ["approve", "deny", "edit"]


def test_a_deadline_is_counted_by_the_databases_clock_and_none_is_for_ever(asked: Asked) -> None:
    approval = asked(expires_in_secs=90)
    assert abs((approval.expires_at - approval.requested_at).total_seconds() - 90) < 0.1
    assert asked().expires_at is None


def test_an_attempt_has_at_most_64_pending(asked: Asked, session: UUID) -> None:
    for _ in range(63):
        asked()
    asked(via="rest")
    for via in ("connection", "rest"):
        with pytest.raises(Problem) as refusal:
            asked(via=via)
        assert (refusal.value.type, refusal.value.status) == ("too-many", 429)
        assert int(refusal.value.headers["Retry-After"]) > 0
    assert Approval.objects.count() == 64


def test_an_attempt_that_is_over_asks_nothing_more(asked: Asked, session: UUID) -> None:
    attempt_clock.settle(session, 1)
    with pytest.raises(Problem) as refusal:
        asked()
    assert (refusal.value.type, refusal.value.status) == ("not-running", 409)


def test_an_attempt_that_was_never_opened_or_is_foreign_cannot_ask(asked: Asked, elsewhere: Project) -> None:
    unknown, foreign = uuid4(), uuid4()
    attempt_clock.open(elsewhere.pk, foreign, 1)
    refusals = []
    for session in (unknown, foreign):
        with pytest.raises(Problem) as refusal:
            asked(session=session, actor=child(session))
        refusals.append(refusal.value.body())
    assert refusals[0] == refusals[1]
    assert refusals[0]["status"] == 404


def test_a_request_without_a_session_has_its_id_within_the_project(
    project: Project, elsewhere: Project, asked: Asked, alice: User
) -> None:
    alone = {"session": None, "attempt": None, "request_id": "r", "via": "rest", "actor": Actor.of_user(alice)}
    first = asked(**alone)
    assert asked(**alone).id == first.id
    ask = Ask(request_id="r", tool_name="t", permission="p", resource="")
    other, created = requests.ask(elsewhere.pk, ask, actor=child(uuid4()), via="rest")
    assert created
    assert other.id != first.id
