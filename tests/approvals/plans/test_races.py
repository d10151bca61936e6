"""The slots of a step are counted among processes."""

from __future__ import annotations

import pytest

from approvals.models import Approval, PlanStep
from tests.approvals.grants.test_races import USES, askers, begin, outcomes  # noqa: F401 - a fixture
from tests.approvals.plans.conftest import LIST, Planned
from tests.approvals.test_races_of_processes import Racer


@pytest.mark.django_db(transaction=True)
def test_of_32_calls_in_four_processes_as_many_pass_as_were_announced(
    planned: Planned,
    askers: list[Racer],  # noqa: F811
) -> None:
    plan = planned({**LIST, "count": USES}, {**LIST, "tool_name": "other"})
    begin(askers, "shell")
    assert outcomes(askers) == {"approved": USES, "pending": 32 - USES}
    assert list(PlanStep.objects.filter(plan=plan).values_list("used", flat=True)) == [USES, 0]
    assert Approval.objects.filter(rule=plan.rule).count() == USES
