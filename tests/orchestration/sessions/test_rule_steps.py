"""The beat's own job takes the steps of rules, before it expires a request."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from accounts import projects
from accounts.actors import Actor
from approvals import requests
from approvals.canonical_action import Ask
from approvals.models import Approval
from approvals.rules import editing
from approvals.rules.bodies import RuleBody
from config.schedule import JOBS
from core.db.clock import clock_at
from orchestration import tasks

pytestmark = pytest.mark.django_db
NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)
SELF = Actor.system("tests")


def test_the_sweep_on_the_schedule_reminds_and_then_expires() -> None:
    assert "approvals_expiry_sweep" in JOBS
    project = projects.default().pk
    editing.create(project, RuleBody(name="one", outcome="ask", deadline_secs=300, remind_after_secs=[60]), SELF)
    wanted = Ask(request_id="r", tool_name="t", permission="p", resource="")
    with clock_at(NOON):
        approval, _ = requests.ask(project, wanted, actor=SELF, via="rest")
    seen = []
    for secs in (59, 60, 299, 301):
        with clock_at(NOON + timedelta(seconds=secs)):
            tasks.approvals_expiry_sweep()
        approval = Approval.objects.get(id=approval.id)
        seen.append((approval.status, approval.steps_done))
    assert seen == [("pending", 0), ("pending", 1), ("pending", 1), ("expired", 1)]
