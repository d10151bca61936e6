"""A plan lets the calls through that it announced, each in its slot, and nothing else."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any
from uuid import uuid4

import pytest

from accounts.actors import Actor
from accounts.models import Project, User
from approvals import attempt_clock, consumption
from approvals.models import Approval, Grant, Plan, PlanStep
from approvals.plans import endings
from core.db.clock import clock_at
from core.web.problems import Problem
from ledger.models import AuditEntry, Event
from orchestration.sessions import lifecycle
from orchestration.states import Status
from tests.approvals.conftest import Asked
from tests.approvals.grants.conftest import Remembered, ask_as, remember
from tests.approvals.plans.conftest import LIST, MILD, WRITE, Planned, approve
from tests.orchestration import stages
from wardroom import jcs

pytestmark = pytest.mark.django_db
AskedPlan = Callable[..., Approval]


def call(asked: Asked, path: str = "src/a.py", **changed: Any) -> str:
    said: dict[str, Any] = {"tool_name": "write", "permission": "write", "resource": path, **MILD}
    arguments = {"path": path, "mode": 420} | changed.pop("arguments", {})
    return str(asked(**said | {"arguments": arguments} | changed).status)


def fields(refusal: Problem) -> list[str]:
    return [each["field"] for each in refusal.extra["errors"]]


def test_a_plan_is_one_request_with_its_whole_manifest_in_the_digest(asked_plan: AskedPlan) -> None:
    plan = asked_plan({**LIST, "risk": None, "reversibility": None}, WRITE)
    assert (plan.status, plan.is_plan, plan.risk, plan.reversibility) == ("pending", True, "medium", "irreversible")
    first, second = plan.arguments["steps"]
    assert (first["count"], first["reversibility"], second["glob"]) == (1, "irreversible", "src/*.py")
    assert jcs.digest_of(plan.action) == plan.digest
    assert '"plan":true' in plan.action
    assert '"v":3' in plan.action
    assert asked_plan({**LIST, "risk": "critical"}, WRITE).risk == "critical"
    assert asked_plan(LIST, WRITE).reversibility == "reversible"


def test_announced_calls_pass_each_in_its_slot(asked: Asked, planned: Planned) -> None:
    plan = planned({**WRITE, "count": 2}, LIST)
    later = asked(**MILD)
    assert (later.status, later.rule, later.plan) == ("approved", f"plan:{plan.id}", str(plan.id))
    assert (later.decided_by or {})["name"] == f"the plan {str(plan.id)[:8]} of alice"
    assert AuditEntry.objects.filter(subject=f"approval:{later.id}", detail__contains=later.rule).exists()
    assert asked(**MILD).status == "pending"
    assert [call(asked), call(asked, "src/b.py"), call(asked, "src/c.py")] == ["approved", "approved", "pending"]
    assert list(PlanStep.objects.filter(plan=plan).values_list("used", "count")) == [(2, 2), (1, 1)]
    plan.refresh_from_db()
    assert plan.end_reason == "used_up"
    types = Event.objects.filter(type__startswith="plan").order_by("pk").values_list("type", flat=True)
    assert list(types) == ["plan_created", "plan_ended"]


@pytest.mark.parametrize(
    "changed",
    [
        {"path": "lib/a.py"},
        {"path": "src/../a.py"},
        {"path": "src/a.py\n"},
        {"resource": "src/b.py\u200b"},
        {"tool_name": "Write"},
        {"permission": "execute"},
        {"arguments": {"mode": 511}},
        {"arguments": {"more": None}},
        {"arguments": {"path": None}},
        {"risk": "high"},
        {"reversibility": "irreversible"},
        {"tool_schema_version": "2"},
        {"preconditions": [{"name": "head", "value_hash": "1", "shown": "1"}]},
    ],
)
def test_anything_off_the_manifest_asks_again(asked: Asked, planned: Planned, changed: dict[str, Any]) -> None:
    planned(WRITE)
    assert call(asked, **changed) == "pending"
    assert call(asked, arguments={"mode": 420.0}) == "approved"


def test_steps_in_order_wait_for_those_before_them(asked: Asked, planned: Planned) -> None:
    planned({**WRITE, "count": 2}, LIST, ordered=True)
    outcomes = [call(asked), str(asked(**MILD).status), call(asked), str(asked(**MILD).status)]
    assert outcomes == ["approved", "pending", "approved", "approved"]


def test_a_person_makes_a_plan_narrower(asked: Asked, asked_plan: AskedPlan, alice: User) -> None:
    plan = asked_plan({**WRITE, "count": 5}, LIST, {**WRITE, "tool_name": "remove"}, expires_in_secs=600)
    one = {**WRITE, "count": 1, "resource": "src/a.py", "glob": None, "patterns": None}
    one["arguments"] = {"mode": 420, "path": "src/a.py"}
    edited = approve(plan, alice, {"steps": [one, LIST], "ordered": True, "expires_in_secs": 60})
    assert (edited.decision_kind, edited.proposed_digest) == ("edit", plan.digest)
    made = Plan.objects.get(id=plan.id)
    assert made.ordered
    assert made.expires_at - made.granted_at == timedelta(seconds=60)
    assert call(asked, "src/b.py") == "pending"
    assert call(asked, "src/a.py") == "approved"
    assert call(asked, "src/a.py") == "pending"


@pytest.mark.parametrize(
    "manifest",
    [
        {"steps": [{**WRITE, "count": 3}]},
        {"steps": [LIST, {**WRITE, "glob": "**"}]},
        {"steps": [LIST, {**WRITE, "glob": None, "resource": "lib/a.py"}]},
        {"steps": [LIST, {**WRITE, "patterns": {"path": {"glob": "**"}}}]},
        {"steps": [LIST, {**WRITE, "patterns": {"path": {"glob": "src/*.py"}, "more": {"glob": "*"}}}]},
        {"steps": [LIST, {**WRITE, "arguments": {"mode": 511}}]},
        {"steps": [LIST, {**WRITE, "patterns": None}]},
        {"steps": [{**LIST, "risk": "high"}]},
        {"steps": [LIST, LIST]},
        {"steps": [WRITE, LIST]},
        {"steps": [LIST, {**LIST, "tool_name": "other"}]},
        {"steps": [LIST], "ordered": False},
        {"steps": [LIST], "ordered": True, "expires_in_secs": 601},
        {"steps": []},
        {},
    ],
)
def test_a_person_makes_no_plan_wider(asked_plan: AskedPlan, alice: User, manifest: dict[str, Any]) -> None:
    plan = asked_plan(LIST, {**WRITE, "count": 2}, ordered=True, expires_in_secs=600)
    with pytest.raises(Problem) as refusal:
        approve(plan, alice, {"ordered": True} | manifest)
    assert refusal.value.type == "invalid"
    assert all(field.startswith("arguments") for field in fields(refusal.value))
    plan.refresh_from_db()
    assert (plan.status, Plan.objects.count()) == ("pending", 0)


@pytest.mark.parametrize(
    ("said", "field"),
    [
        ({"arguments": {}}, "arguments"),
        ({"preconditions": [{"name": "head", "value_hash": "1", "shown": "1"}]}, "preconditions"),
        ({"session": None, "attempt": None}, "session"),
        ({"allowed_decisions": ["respond"]}, "allowed_decisions"),
        ({"plan": {}}, "plan.steps"),
        ({"plan": {"steps": []}}, "plan.steps"),
        ({"plan": {"steps": [LIST] * 65}}, "plan.steps"),
        ({"plan": {"steps": [{**LIST, "glob": "*"}]}}, "plan.steps[0].resource"),
        ({"plan": {"steps": [{**LIST, "resource": None}]}}, "plan.steps[0].resource"),
        ({"plan": {"steps": [{**LIST, "count": 0}]}}, "plan.steps[0].count"),
        ({"plan": {"steps": [{**LIST, "patterns": {"command": {"glob": "*"}}}]}}, "plan.steps[0].patterns"),
        ({"plan": {"steps": [{**LIST, "patterns": {"more": {}}}]}}, "plan.steps[0].patterns"),
        ({"plan": {"steps": [{**LIST, "when": "now"}]}}, "plan.steps[0].when"),
        ({"plan": {"steps": [LIST], "for_ever": True}}, "plan.for_ever"),
        ({"plan": "everything"}, "plan"),
    ],
)
def test_a_plan_that_is_none_is_refused(asked: Asked, said: dict[str, Any], field: str) -> None:
    plan = {"tool_name": "plan", "permission": "plan", "resource": "x", "arguments": None, "plan": {"steps": [LIST]}}
    with pytest.raises(Problem) as refusal:
        asked(**plan | said)
    assert fields(refusal.value)[0] == field


def test_a_plan_is_never_run_and_never_counted_as_not_run(planned: Planned, project: Project, alice: User) -> None:
    plan = planned()
    approval = plan.approval
    with pytest.raises(Problem) as refusal:
        consumption.consume(project.pk, plan.id, digest=approval.digest, actor=Actor.of_user(alice))
    assert refusal.value.type == "not-approved"
    assert not Approval.objects.unconsumed().exists()


def test_no_grant_and_no_plan_approves_a_plan(
    asked: Asked, asked_plan: AskedPlan, planned: Planned, remembered: Remembered, alice: User
) -> None:
    first = asked_plan()
    disguised = {"tool_name": "plan", "permission": "plan", "resource": "tidy up", "arguments": first.arguments}
    remembered(disguised | {"risk": "high"})
    planned({**disguised, "risk": "high", "reversibility": "reversible"})
    call = asked(**MILD, **disguised)
    assert call.status == "approved"
    assert call.likeness != first.likeness
    assert asked_plan().status == "pending"
    with pytest.raises(Problem) as refusal:
        remember(first, alice)
    assert fields(refusal.value) == ["remember"]
    assert Grant.objects.count() == 1


def test_a_plan_ends_by_hand_with_its_time_and_with_its_person(
    asked: Asked, planned: Planned, alice: User, bob: User
) -> None:
    plan = planned(LIST, expires_in_secs=60)
    with clock_at(plan.granted_at + timedelta(seconds=61)):
        assert asked(**MILD).status == "pending"
    User.objects.filter(pk=alice.pk).update(is_active=False)
    assert asked(**MILD).status == "pending"
    User.objects.filter(pk=alice.pk).update(is_active=True)
    revoked = endings.revoke(plan.project_id, plan.id, Actor.of_user(bob))
    assert endings.revoke(plan.project_id, plan.id, Actor.of_user(bob)).ended_at == revoked.ended_at
    assert asked(**MILD).status == "pending"
    assert AuditEntry.objects.filter(action="plan.revoked", subject=f"plan:{plan.id}").count() == 1


def test_a_plan_is_for_its_session_alone_and_ends_with_it(alice: User) -> None:
    session = stages.running()
    below = stages.running(parent=session.pk)
    plan = approve(ask_as(session, arguments=None, plan={"steps": [{**LIST, "count": 9}]}), alice)
    assert [ask_as(each).status for each in (session, below)] == ["approved", "pending"]
    assert lifecycle.finish(session.pk, session.attempt, Status.COMPLETED)
    assert Plan.objects.get(id=plan.id).end_reason == "session_ended"


def test_a_plan_of_another_session_or_project_is_none(
    asked: Asked, planned: Planned, project: Project, elsewhere: Project
) -> None:
    planned(LIST)
    other = uuid4()
    attempt_clock.open(project.pk, other, 1)
    assert asked(**MILD, session=other).status == "pending"
    Plan.objects.update(project=elsewhere)
    assert asked(**MILD).status == "pending"


def test_a_slot_is_used_before_a_grant(asked: Asked, planned: Planned, remembered: Remembered) -> None:
    grant, plan = remembered(), planned(LIST)
    assert [asked(**MILD).rule for _ in range(2)] == [f"plan:{plan.id}", f"grant:{grant.id}"]


@pytest.mark.parametrize(
    ("step", "field"),
    [
        ({"patterns": {"password": {"glob": "x*"}}}, "plan.steps[0].patterns.password"),
        ({"patterns": {"path": {"prefix": "Bearer abcdefghijklmnopqrstuvwx"}}}, "plan.steps[0].patterns.path"),
        ({"resource": None, "glob": "https://user:hunter2hunter2@host/**"}, "plan.steps[0].glob"),
    ],
)
def test_a_pattern_that_nobody_would_see_is_refused(
    asked_plan: Callable[..., Approval], step: dict[str, Any], field: str
) -> None:
    with pytest.raises(Problem) as refusal:
        asked_plan({**LIST, **step})
    assert [error["field"] for error in refusal.value.extra["errors"]] == [field]
    assert "is hidden from those who approve" in refusal.value.extra["errors"][0]["detail"]


def test_a_hidden_value_that_cannot_vary_is_no_reason_to_refuse(asked_plan: Callable[..., Approval]) -> None:
    assert asked_plan({**LIST, "arguments": {"password": "hunter2hunter2"}}).status == "pending"
