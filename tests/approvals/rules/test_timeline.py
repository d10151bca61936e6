"""Deadlines, reminders and escalations of rules: each step once, before the end, by the database's clock."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from django.contrib.auth.models import Group

from accounts.actors import Actor
from accounts.models import Project, User
from approvals import decisions
from approvals.decision_validation import Answer
from approvals.life import routing
from approvals.models import Approval, Snooze
from approvals.rules import terms, timeline
from core.db.clock import clock_at
from ledger.models import Event, SkippedRow
from tests.approvals.conftest import NOON, Asked
from tests.approvals.rules.conftest import Ruled

pytestmark = pytest.mark.django_db


def sweep(secs: float) -> int:
    with clock_at(NOON + timedelta(seconds=secs)):
        return timeline.take_due()


def kinds(approval: Approval) -> list[str]:
    return list(approval.steps.order_by("id").values_list("kind", flat=True))


def test_a_rules_deadline_ends_the_request_and_the_earliest_of_all_counts(asked: Asked, ruled: Ruled) -> None:
    ruled(name="a", outcome="ask", deadline_secs=600)
    ruled(name="b", outcome="ask", deadline_secs=300)
    assert asked(now=NOON).expires_at == NOON + timedelta(seconds=300)
    assert asked(now=NOON, expires_in_secs=60).expires_at == NOON + timedelta(seconds=60)
    assert asked(now=NOON, expires_in_secs=900).expires_at == NOON + timedelta(seconds=300)
    approval = asked(now=NOON)
    with clock_at(NOON + timedelta(seconds=301)):
        decisions.expire_due()
    approval.refresh_from_db()
    assert approval.status == "expired"


def test_on_expiry_pending_keeps_the_request_open_and_escalates_it(asked: Asked, ruled: Ruled) -> None:
    ruled(outcome="ask", deadline_secs=300, on_expiry="pending")
    approval = asked(now=NOON)
    assert approval.expires_at is None
    assert (sweep(299), sweep(300), sweep(1000)) == (0, 1, 0)
    with clock_at(NOON + timedelta(seconds=9999)):
        decisions.expire_due()
    approval.refresh_from_db()
    assert (approval.status, approval.escalations) == ("pending", 1)
    assert Event.objects.get(type="approval_escalated").payload["reason"] == "deadline"


def test_reminders_and_escalations_come_in_time_and_each_once(
    asked: Asked, ruled: Ruled, project: Project, alice: User, bob: User
) -> None:
    group = Group.objects.get(name=f"team of {project}")
    chain = [{"after_secs": 90, "users": ["bob"]}, {"after_secs": 120, "groups": [group.name]}]
    ruled(outcome="ask", deadline_secs=300, remind_after_secs=[60, 150], escalate=chain)
    approval = asked(now=NOON)
    assert approval.next_step_at == NOON + timedelta(seconds=60)
    Snooze.objects.create(approval=approval, user=alice, until=NOON + timedelta(days=1))
    assert [sweep(at) for at in (59, 60, 60, 90, 91)] == [0, 1, 0, 1, 0]
    approval.refresh_from_db()
    assert (kinds(approval), approval.assigned_to["name"]) == (["reminded", "escalated"], "bob")
    assert not Snooze.objects.exists()
    assert sweep(200) == 2
    approval.refresh_from_db()
    assert kinds(approval) == ["reminded", "escalated", "escalated", "reminded"]
    assert (approval.assigned_to["name"], approval.next_step_at, approval.escalations) == (group.name, None, 2)
    told = Event.objects.filter(type="approval_escalated").order_by("cursor").first().payload
    assert (told["targets"], told["rule"]) == ([{"kind": "user", "id": str(bob.pk), "name": "bob"}], "one")
    assert told["version"] == 2


def test_an_escalation_makes_its_people_approvers(
    asked: Asked, ruled: Ruled, project: Project, alice: User, bob: User
) -> None:
    ruled(outcome="ask", approvers={"users": ["alice"]}, escalate=[{"after_secs": 60, "users": ["bob"]}])
    approval = asked(now=NOON)
    answer = Answer(decision="deny")
    with pytest.raises(Exception, match="Only these people"):
        decisions.decide(project.pk, approval.id, answer, Actor.of_user(bob), "rest")
    sweep(60)
    assert decisions.decide(project.pk, approval.id, answer, Actor.of_user(bob), "rest").status == "denied"


def test_a_shorter_deadline_of_the_asker_moves_the_steps_before_it(asked: Asked, ruled: Ruled, bob: User) -> None:
    """Otherwise an escalation after half an hour would never come for a request of five minutes."""
    ruled(outcome="ask", remind_after_secs=[900], escalate=[{"after_secs": 1800, "users": ["bob"]}])
    approval = asked(now=NOON, expires_in_secs=300)
    assert (sweep(113), sweep(225)) == (1, 1)
    assert kinds(approval) == ["reminded", "escalated"]


def test_steps_are_fitted_into_a_shorter_time() -> None:
    planned: list[dict[str, Any]] = [{"after_secs": 900}, {"after_secs": 1800}]
    assert terms.fitted(planned, None) == planned
    assert terms.fitted(planned, 1801) == planned
    assert [step["after_secs"] for step in terms.fitted(planned, 300)] == [112.5, 225.0]


def test_no_step_comes_after_an_answer_or_the_deadline(
    asked: Asked, ruled: Ruled, project: Project, alice: User
) -> None:
    ruled(outcome="ask", remind_after_secs=[60])
    answered, ended, open_one = asked(now=NOON), asked(now=NOON, expires_in_secs=90), asked(now=NOON)
    decisions.decide(project.pk, answered.id, Answer(decision="deny"), Actor.of_user(alice), "rest")
    assert sweep(100) == 1
    assert [kinds(each) for each in (answered, ended, open_one)] == [[], [], ["reminded"]]


def test_a_bad_row_stops_no_other(asked: Asked, ruled: Ruled) -> None:
    ruled(outcome="ask", remind_after_secs=[60])
    bad, good = asked(now=NOON), asked(now=NOON)
    Approval.objects.filter(id=bad.id).update(terms={"steps": []})
    assert sweep(60) == 1
    assert kinds(good) == ["reminded"]
    assert SkippedRow.objects.get().row == str(bad.id)


def test_a_delegation_between_two_steps_loses_none(asked: Asked, ruled: Ruled, project: Project, alice: User) -> None:
    ruled(outcome="ask", remind_after_secs=[60, 120])
    approval = asked(now=NOON)
    sweep(60)
    routing.delegate(project.pk, approval.id, Actor.of_user(alice), user="alice")
    sweep(120)
    assert kinds(approval) == ["reminded", "delegated", "reminded"]
