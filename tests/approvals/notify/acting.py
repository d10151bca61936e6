"""Requests, answers to them, and the messages about both, all at once."""

from __future__ import annotations

import itertools
from typing import Any

from accounts import projects
from accounts.actors import Actor
from accounts.models import User
from approvals import decisions, requests
from approvals.canonical_action import Ask
from approvals.decision_validation import Answer
from approvals.models import Approval, Notice
from core.db.clock import database_now
from ledger.deliveries import round
from ledger.models import Delivery, Lane

numbers = itertools.count()


def ask(tool: str = "deploy", **more: Any) -> Approval:
    wanted = Ask(request_id=str(next(numbers)), tool_name=tool, permission="p", resource="secret-place", **more)
    return requests.ask(projects.default().pk, wanted, actor=Actor.system("tests"), via="rest")[0]


def decide(approval: Approval, user: User) -> None:
    decisions.decide(
        approval.project_id,
        approval.pk,
        Answer(decision="approve", digest=approval.digest),
        Actor.of_user(user),
        "admin",
    )


def send_all() -> None:
    """Run a round, with every wait over."""
    round.run()
    Notice.objects.update(due_at=database_now())
    Delivery.objects.filter(state="waiting").update(due_at=database_now())
    Lane.objects.exclude(name=round.ROUND).update(paused_until=None)
    round.run()
