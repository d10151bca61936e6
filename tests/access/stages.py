"""Approvals at the stages that a planted project lacks: in doubt, and with a plan that was approved."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from accounts.actors import Actor
from accounts.models import Project
from approvals import consumption, decisions, requests
from approvals.canonical_action import Ask
from approvals.models import Approval
from approvals.outcomes import reports
from tests.people import owner


def unknown(project: Project, session: UUID | None) -> Approval:
    """Return a consumed approval with an unknown outcome, as its executor reported."""
    approval = _approved(project, session, request_id="in doubt")
    child = _child(session)
    consumption.consume(project.pk, approval.pk, digest=approval.digest, claim="mine", actor=child)
    return reports.report(project.pk, approval.pk, child, outcome="unknown", claim="mine")


def planned(project: Project, session: UUID | None) -> Approval:
    """Return the approved request of a plan."""
    step = {"tool_name": "t", "permission": "p", "resource": "r", "risk": "low", "reversibility": "reversible"}
    return _approved(project, session, request_id="plan", plan={"steps": [step]})


def _approved(project: Project, session: UUID | None, **said: Any) -> Approval:
    words = {"tool_name": "t", "permission": "p", "resource": "r"} | said
    ask = Ask(session=session, attempt=1, **words)
    approval = requests.ask(project.pk, ask, actor=_child(session), via="connection")[0]
    answer = decisions.Answer(decision="approve", digest=approval.digest)
    return decisions.decide(project.pk, approval.pk, answer, Actor.of_user(owner()), "admin")


def _child(session: UUID | None) -> Actor:
    return Actor(kind="child", id=f"{session}/1", name="child", session=session, attempt=1)
