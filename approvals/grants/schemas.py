"""Shape grants for callers."""

from __future__ import annotations

from typing import Annotated, Any

from msgspec import Struct

from approvals import schemas
from approvals.bodies import Text, Word
from approvals.display import copies
from approvals.grants import bounds, selectors
from approvals.models import Grant
from approvals.schemas import ApprovalPerson
from approvals.states import GrantScope, Reversibility, Risk
from core.db import clock
from core.display.redaction import json_copy
from core.web.fields import Body, Id, Moment, one_of, says


class GrantRevocation(Body, frozen=True):
    pass


class ApprovalGrant(Struct, frozen=True, kw_only=True):
    id: Id
    project: Id
    approval: Annotated[Id, says("The request that it was born from.")]
    scope: Annotated[str, one_of(GrantScope.values)]
    session: Annotated[Id, says("The session that asked then; of `tree`, its top.")]
    role: Annotated[str | None, says("The role of that session.")]
    tool_name: Word
    tool_schema_version: Annotated[str | None, says("As approved; another one asks again.")]
    permission: Word
    resource: Text
    arguments: Annotated[dict[str, Any] | None, says("As approved, without secrets. All but the slots must be equal.")]
    preconditions: Annotated[list[dict[str, str]], says("As approved; other ones ask again.")]
    slots: Annotated[dict[str, Any], bounds.SHOWN_SLOTS]
    resource_slot: Annotated[str | None, says("The slot that the resource repeats, and varies with.")]
    risk: Annotated[str, one_of(Risk.values, says="The most. A graver request asks again.")]
    reversibility: Annotated[str, one_of(Reversibility.values, says="The most. A graver request asks again.")]
    uses: int
    used: int
    left: int
    last_used_at: Moment | None
    state: Annotated[str, one_of(selectors.STATES)]
    is_carried: Annotated[bool, says("Its person may still answer here. Otherwise it lets nothing through.")]
    granted_at: Moment
    granted_by: ApprovalPerson | None
    expires_at: Moment
    ended_at: Moment | None
    ended_by: ApprovalPerson | None


class ApprovalGrantPage(Struct, frozen=True):
    results: list[ApprovalGrant]
    next: str | None


def grant(row: Grant) -> ApprovalGrant:
    """Return the REST body of a grant that `selectors` selected."""
    action = copies.of_action(row.action)
    return ApprovalGrant(
        id=str(row.id),
        project=str(row.project_id),
        approval=str(row.approval_id),
        scope=row.scope,
        session=str(row.session),
        role=row.role or None,
        tool_name=row.tool_name,
        tool_schema_version=action["tool_schema_version"],
        permission=row.permission,
        resource=action["resource"],
        arguments=action["arguments"],
        preconditions=action.get("preconditions", []),
        slots=json_copy(row.slots).shown,
        resource_slot=row.resource_slot,
        risk=row.risk,
        reversibility=row.reversibility,
        uses=row.uses,
        used=row.used,
        left=row.left,
        last_used_at=schemas.moment(row.last_used_at),
        state=selectors.state(row),
        is_carried=row.is_carried,
        granted_at=clock.moment(row.granted_at),
        granted_by=schemas.person(row.granted_by),
        expires_at=clock.moment(row.expires_at),
        ended_at=schemas.moment(row.ended_at),
        ended_by=schemas.person(row.ended_by),
    )
