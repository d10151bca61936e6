"""The order of verdicts: denials, then grants, then rules that allow, and people where a rule demands them."""

from __future__ import annotations

from typing import Any

import pytest

from accounts.models import User
from approvals.models import Approval
from tests.approvals.conftest import Asked, approved  # noqa: F401 - a fixture of `taken`
from tests.approvals.grants.conftest import remember
from tests.approvals.outcomes.conftest import taken  # noqa: F401 - a fixture
from tests.approvals.outcomes.test_outcomes import in_doubt
from tests.approvals.rules.conftest import Ruled

pytestmark = pytest.mark.django_db


@pytest.fixture
def granted(asked: Asked, alice: User) -> Approval:
    """Alice lets the session's own command through from now on."""
    approval = remember(asked(risk="low", reversibility="read_only"), alice)
    assert asked(risk="low", reversibility="read_only").status == "approved"
    return approval


def again(asked: Asked) -> Approval:
    return asked(risk="low", reversibility="read_only")


def test_a_denial_beats_a_grant(asked: Asked, granted: Approval, ruled: Ruled) -> None:
    ruled(name="never")
    assert (again(asked).status, again(asked).rule) == ("denied", "never")


def test_a_grant_answers_what_a_rule_only_asks_about(asked: Asked, granted: Approval, ruled: Ruled) -> None:
    ruled(outcome="ask")
    assert (again(asked).status, again(asked).grant) == ("approved", str(granted.remembered))


@pytest.mark.parametrize(
    "demand", [{"four_eyes": True}, {"approvers": {"quorum": 2}}, {"approvers": {"users": ["bob"]}}]
)
def test_no_grant_answers_where_a_rule_demands_people(
    asked: Asked, granted: Approval, ruled: Ruled, bob: User, demand: Any
) -> None:
    ruled(outcome="ask", **demand)
    assert again(asked).status == "pending"


def test_no_rule_repeats_an_action_that_may_have_run(
    asked: Asked,
    taken: Any,  # noqa: F811
    ruled: Ruled,
) -> None:
    in_doubt(taken())
    ruled(outcome="allow")
    assert asked().status == "pending"
    assert asked(arguments={"command": "ls"}).status == "approved"
