"""Select the plans of a project, with what the database knows of them now."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from django.db.models import QuerySet

from approvals.grants import matching
from approvals.grants.selectors import flags
from approvals.models import Plan
from core.web import problems


def of(project_id: Any) -> QuerySet[Plan]:
    """Return the plans of a project, each with its steps, `is_expired` and `is_carried`."""
    found = Plan.objects.filter(project=project_id).prefetch_related("steps")
    return found.annotate(**flags(matching.carried(project_id)))


def find(project_id: Any, plan_id: UUID) -> Plan:
    """Return one plan of the project. Raises not-found."""
    found = of(project_id).filter(pk=plan_id).first()
    if found is None:
        raise problems.not_found()
    return found
