"""Shape plans for callers."""

from __future__ import annotations

from typing import Annotated, Any

from msgspec import Struct

from approvals import schemas
from approvals.bodies import Word
from approvals.grants import bounds, selectors
from approvals.models import Plan
from approvals.schemas import ApprovalPerson
from approvals.states import Reversibility, Risk
from core.db import clock
from core.display.redaction import json_copy, redacted
from core.web.fields import Body, Id, Moment, one_of, says


class PlanRevocation(Body, frozen=True):
    pass


class ApprovalPlanStep(Struct, frozen=True, kw_only=True):
    number: int
    tool_name: Word
    permission: Word
    resource: str | None
    glob: Annotated[str | None, says("Instead of `resource`.")]
    arguments: Annotated[dict[str, Any] | None, says("The arguments that are equal.")]
    patterns: Annotated[dict[str, Any], bounds.SHOWN_SLOTS]
    risk: Annotated[str, one_of(Risk.values)]
    reversibility: Annotated[str, one_of(Reversibility.values)]
    count: int
    used: int
    left: int


class ApprovalPlan(Struct, frozen=True, kw_only=True):
    id: Annotated[Id, says("That of the request that asked for it.")]
    project: Id
    session: Id
    ordered: bool
    steps: list[ApprovalPlanStep]
    state: Annotated[str, one_of(selectors.STATES)]
    is_carried: Annotated[bool, says("Its person may still answer here. Otherwise it lets nothing through.")]
    last_used_at: Moment | None
    granted_at: Moment
    granted_by: ApprovalPerson | None
    expires_at: Moment
    ended_at: Moment | None
    ended_by: ApprovalPerson | None


class ApprovalPlanPage(Struct, frozen=True):
    results: list[ApprovalPlan]
    next: str | None


def plan(row: Plan) -> ApprovalPlan:
    """Return the REST body of a plan that `selectors` selected, without secrets."""
    return ApprovalPlan(
        id=str(row.pk),
        project=str(row.project_id),
        session=str(row.session),
        ordered=row.ordered,
        steps=[
            ApprovalPlanStep(
                number=each.number,
                count=each.count,
                used=each.used,
                left=each.left,
                **shown(each.step),
            )
            for each in row.steps.all()
        ],
        state=selectors.state(row),
        is_carried=row.is_carried,
        last_used_at=schemas.moment(row.last_used_at),
        granted_at=clock.moment(row.granted_at),
        granted_by=schemas.person(row.granted_by),
        expires_at=clock.moment(row.expires_at),
        ended_at=schemas.moment(row.ended_at),
        ended_by=schemas.person(row.ended_by),
    )


def shown(step: dict[str, Any]) -> dict[str, Any]:
    """Return the members of a step as they are shown, without its count."""
    return {
        **{name: step[name] for name in ("tool_name", "permission", "glob", "risk", "reversibility")},
        "resource": None if step["resource"] is None else redacted(step["resource"]),
        "arguments": json_copy(step["arguments"]).shown,
        "patterns": json_copy(step["patterns"] or {}).shown,
    }
