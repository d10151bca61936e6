"""The fallback of an asker is recorded on the request, and decides nothing."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any
from uuid import UUID

import pytest
from django.test import Client

from accounts.actors import Actor
from accounts.models import Project, User
from approvals import decisions, fallbacks
from approvals.decision_validation import Answer
from approvals.states import Fallback
from core.web.problems import Problem
from ledger.models import AuditEntry, Event
from tests.approvals.conftest import Asked, child

pytestmark = pytest.mark.django_db

Bearer = Callable[..., dict[str, str]]


def record(approval: Any, action: Fallback = Fallback.PROCEED, actor: Actor | None = None) -> Any:
    return fallbacks.record(approval.project_id, approval.id, action, actor or child(approval.session))


def test_it_is_recorded_once_and_the_request_stays_pending(asked: Asked) -> None:
    approval = asked()
    first, again = record(approval), record(approval)
    assert (first.status, first.fallback, first.version) == ("pending", "proceed", approval.version)
    assert first.fallback_at == again.fallback_at
    assert Event.objects.get(type="approval_fallback").payload["fallback"] == "proceed"
    assert json.loads(AuditEntry.objects.get(action="approval.fallback").detail)["fallback"] == "proceed"


def test_another_fallback_later_is_refused(asked: Asked) -> None:
    approval = asked()
    record(approval)
    with pytest.raises(Problem) as refusal:
        record(approval, Fallback.DENY_LOCALLY)
    assert refusal.value.type == "conflict"
    approval.refresh_from_db()
    assert approval.fallback == "proceed"


def test_an_answer_that_came_first_wins(approved: Asked) -> None:
    approval = approved()
    with pytest.raises(Problem) as refusal:
        record(approval)
    assert refusal.value.type == "already-decided"
    assert refusal.value.extra["approval"]["status"] == "approved"
    approval.refresh_from_db()
    assert approval.fallback is None


def test_a_person_may_still_answer_it(asked: Asked, project: Project, alice: User) -> None:
    approval = asked()
    record(approval, Fallback.DENY_LOCALLY)
    answer = Answer(decision="approve", digest=approval.digest)
    decided = decisions.decide(project.pk, approval.id, answer, Actor.of_user(alice), "admin")
    assert (decided.status, decided.fallback) == ("approved", "deny_locally")


def test_only_the_asker_records_it(asked: Asked, alice: User) -> None:
    approval = asked()
    with pytest.raises(Problem) as refusal:
        record(approval, actor=Actor.of_user(alice))
    assert refusal.value.type == "forbidden"
    approval.refresh_from_db()
    assert approval.fallback is None


def test_it_is_recorded_by_rest(
    bearer: Callable[..., dict[str, str]],
    project: Project,
    elsewhere: Project,
    session: UUID,
    asked: Asked,
    stranger: User,
) -> None:
    path = f"/api/v1/approvals/{asked().id}/fallback"

    def post(headers: dict[str, str], action: str) -> Any:
        return Client().post(path, {"action": action}, content_type="application/json", headers=headers)

    child_token, foreign = bearer(project, session=session), bearer(elsewhere, stranger)
    refused = post(child_token, "give_up")
    assert (refused.status_code, refused.json()["errors"][0]["field"]) == (422, "action")
    assert post(foreign, "proceed").status_code == 404
    recorded = post(child_token, "deny_locally")
    assert recorded.status_code == 200
    assert (recorded.json()["status"], recorded.json()["fallback"]) == ("pending", "deny_locally")
