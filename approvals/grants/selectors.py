"""Select the grants of a project, with what the database knows of them now."""

from __future__ import annotations

from typing import Any, TypeVar
from uuid import UUID

from django.db.models import BooleanField, Case, Q, QuerySet, Value, When

from approvals.grants import matching
from approvals.models import Grant, Plan
from approvals.states import GrantEnd
from core.db.clock import database_now
from core.web import problems

Row = TypeVar("Row", Grant, Plan)
LIVE, EXPIRED = "live", "expired"
#: The states of a grant. An ended one has the reason of its end.
STATES = (LIVE, EXPIRED, *GrantEnd.values)


def of(project_id: Any) -> QuerySet[Grant]:
    """Return the grants of a project, each with `is_expired` and `is_carried`."""
    return annotated(Grant.objects.filter(project=project_id), matching.carried(project_id))


def annotated(rows: QuerySet[Row], carried: Q) -> QuerySet[Row]:
    """Annotate `is_expired`, by the database's clock, and `is_carried`: its person may still answer."""
    return rows.annotate(**flags(carried))


def flags(carried: Q) -> dict[str, Case]:
    """Return the two annotations, for grants and for plans."""
    flag: Any = {"default": Value(False), "output_field": BooleanField()}
    return {
        "is_expired": Case(When(expires_at__lte=database_now(), then=Value(True)), **flag),
        "is_carried": Case(When(carried, then=Value(True)), **flag),
    }


def find(project_id: Any, grant_id: UUID) -> Grant:
    """Return one grant of the project. Raises not-found."""
    found = of(project_id).filter(id=grant_id).first()
    if found is None:
        raise problems.not_found()
    return found


def being(wanted: list[str]) -> Q:
    """Return the condition that a grant or a plan is in one of these states."""
    now = database_now()
    found = Q(end_reason__in=[state for state in wanted if state in GrantEnd.values])
    if LIVE in wanted:
        found |= Q(ended_at=None, expires_at__gt=now)
    if EXPIRED in wanted:
        found |= Q(ended_at=None, expires_at__lte=now)
    return found


def state(grant: Grant | Plan) -> str:
    """Return the state of a grant or a plan with its annotations."""
    if grant.end_reason is not None:
        return str(grant.end_reason)
    return EXPIRED if grant.is_expired else LIVE
