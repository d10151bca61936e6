"""Filter and count approvals by query parameters."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from django.db.models import Count, Min, Q

from accounts.actors import Actor
from approvals import permissions, schemas, selectors
from approvals.models import Approval, ApprovalQuerySet
from approvals.states import Outcome, Status
from core.db.compiled import CompiledQueries, Listing
from core.web import queries

_COMPILED: CompiledQueries[Approval] = CompiledQueries()


def filtered(rows: ApprovalQuerySet, params: Mapping[str, Any], actor: Actor) -> ApprovalQuerySet:
    """Filter by the query parameters of a list. Raises invalid."""
    return _apply(rows, *_chosen(params, actor))


def listing(project_id: Any, params: Mapping[str, Any], actor: Actor) -> Listing[Approval]:
    """Return the approvals that this caller may see and has asked for, with their waiters. Raises invalid."""
    chosen, values = _chosen(params, actor)
    view, of_view = permissions.view_of(actor)

    def build(values: Mapping[str, Any]) -> ApprovalQuerySet:
        rows = Approval.objects.filter(permissions.condition(view, values), project_id=values["project"])
        return selectors.with_waiters(_apply(rows, chosen, values))

    return Listing(_COMPILED, Approval, (view, chosen), {**of_view, **values, "project": project_id}, build)


@dataclass(frozen=True, slots=True)
class _Chosen:
    """The filters that shape the query. `session`, `tool` and `snoozer` take values."""

    statuses: tuple[str, ...] | None
    outcomes: tuple[str, ...] | None
    session: bool
    tool: bool
    snoozed: bool | None
    snoozer: bool
    unconsumed: bool


def _chosen(params: Mapping[str, Any], actor: Actor) -> tuple[_Chosen, dict[str, Any]]:
    """Read `status` and `outcome` (words, comma-separated), `session`, `tool`, `unconsumed=true` and `snoozed`.

    `snoozed` speaks of the caller's own snoozes. Raises invalid.
    """
    statuses = queries.words(params, "status", Status.values)
    outcomes = queries.words(params, "outcome", Outcome.values)
    session = queries.uuid(params, "session")
    tool = queries.text(params, "tool")
    snoozed = None if params.get("snoozed") is None else queries.flag(params, "snoozed")
    values = {"session": session, "tool": tool, "snoozer": None if snoozed is None else actor.user_id}
    chosen = _Chosen(
        statuses=None if statuses is None else tuple(sorted(set(statuses))),
        outcomes=None if outcomes is None else tuple(sorted(set(outcomes))),
        session=session is not None,
        tool=tool is not None,
        snoozed=snoozed,
        snoozer=values["snoozer"] is not None,
        unconsumed=queries.flag(params, "unconsumed"),
    )
    return chosen, {name: value for name, value in values.items() if value is not None}


def _apply(rows: ApprovalQuerySet, chosen: _Chosen, values: Mapping[str, Any]) -> ApprovalQuerySet:
    if chosen.statuses is not None:
        rows = rows.filter(status__in=chosen.statuses)
    if chosen.outcomes is not None:
        rows = rows.filter(outcome__in=chosen.outcomes)
    if chosen.session:
        rows = rows.filter(session=values["session"])
    if chosen.tool:
        rows = rows.filter(tool_name=values["tool"])
    if chosen.snoozed is not None:
        asleep = selectors.snoozed_by(values.get("snoozer"))
        rows = rows.filter(asleep if chosen.snoozed else ~asleep)
    return rows.unconsumed() if chosen.unconsumed else rows


def counts(rows: ApprovalQuerySet) -> schemas.ApprovalCounts:
    """Count the approvals in each state and the approved ones that never ran, and find the oldest pending one."""
    numbers = rows.aggregate(
        count=Count("pk"),
        oldest_pending_at=Min("requested_at", filter=Q(status=Status.PENDING)),
        **{status.value: Count("pk", filter=Q(status=status)) for status in Status},
    )
    oldest = schemas.moment(numbers.pop("oldest_pending_at"))
    return schemas.ApprovalCounts(**numbers, unconsumed=rows.unconsumed().count(), oldest_pending_at=oldest)
