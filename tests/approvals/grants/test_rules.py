"""Rules and grants: a denial is stronger than any grant or plan, and so is a demand for people."""

from __future__ import annotations

from typing import Any

import pytest

from accounts.models import User
from approvals.models import Grant
from core.web.problems import Problem
from tests.approvals.conftest import Asked
from tests.approvals.grants.conftest import HARMLESS, Remembered, remember
from tests.approvals.plans.conftest import LIST, MILD, approve
from tests.approvals.rules.conftest import Ruled, ruled  # noqa: F401 - a fixture

pytestmark = pytest.mark.django_db

DEMANDS: list[dict[str, Any]] = [
    {"outcome": "ask", "four_eyes": True},
    {"outcome": "ask", "approvers": {"quorum": 2}},
    {"outcome": "ask", "approvers": {"users": ["alice"]}},
]


@pytest.fixture
def plan(asked: Asked, alice: User) -> None:
    """An approved plan for the command that everybody here asks for."""
    steps: Any = {"steps": [{**LIST, "count": 9}]}
    said = {"tool_name": "plan", "permission": "plan", "resource": "x", "arguments": None}
    approve(asked(**said, plan=steps), alice)


def test_a_rule_that_denies_beats_a_grant_and_a_plan(
    asked: Asked,
    remembered: Remembered,
    plan: None,
    ruled: Ruled,  # noqa: F811
) -> None:
    grant = remembered({"tool_name": "other"})
    ruled(outcome="deny")
    assert [asked(**HARMLESS).status, asked(**HARMLESS, tool_name="other").status] == ["denied", "denied"]
    grant.refresh_from_db()
    assert grant.used == 0


@pytest.mark.parametrize("demand", DEMANDS, ids=["four eyes", "quorum", "named"])
def test_a_demand_for_people_is_stronger_than_a_grant_and_a_plan(
    asked: Asked,
    remembered: Remembered,
    plan: None,
    alice: User,
    ruled: Ruled,  # noqa: F811
    demand: dict[str, Any],
) -> None:
    remembered({"tool_name": "other"})
    ruled(**demand)
    assert [asked(**HARMLESS).status, asked(**HARMLESS, tool_name="other").status] == ["pending", "pending"]
    approval = asked(**HARMLESS)
    with pytest.raises(Problem) as refusal:
        remember(approval, alice)
    assert [each["field"] for each in refusal.value.extra["errors"]] == ["remember"]
    approval.refresh_from_db()
    assert (approval.status, Grant.objects.count()) == ("pending", 1)


def test_a_rule_that_raises_the_risk_takes_a_request_out_of_its_grant(asked: Asked, remembered: Remembered) -> None:
    remembered()
    assert asked(**HARMLESS).status == "approved"
    Grant.objects.update(risk="low")  # As if a rule raised the risk of later requests.
    assert asked(**HARMLESS).status == "pending"


def test_a_rule_that_allows_approves_no_plan(
    asked: Asked,
    ruled: Ruled,  # noqa: F811
) -> None:
    ruled(outcome="allow")
    said = {"tool_name": "plan", "permission": "plan", "resource": "x", "arguments": None}
    assert asked(**said, plan={"steps": [LIST]}).status == "pending"
    assert asked(**MILD).status == "approved"
