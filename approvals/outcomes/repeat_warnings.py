"""Keep the warnings of pending requests true: an earlier run of the same action became doubtful, or did not happen.

An ask gets its warning when it is stored: see `approvals.outcomes.repeats`. When a run becomes doubtful in the same
moment, neither transaction sees the other one: the sweep finds such a request soon after.
"""

from __future__ import annotations

from uuid import UUID

from django.db.models import Exists, OuterRef

from accounts.actors import Actor
from approvals.life import steps
from approvals.models import Approval, ApprovalQuerySet
from approvals.outcomes import repeats
from approvals.states import Outcome, StepKind
from core.db.clock import later
from ledger import sweep_batch, unit_of_work
from ledger.sweep_batch import Work

SWEEPER = Actor.system("outcomes")
WORK = Work("approvals_expiry_sweep", "repeats")
#: The most pending requests that are looked at. A person reads each; a queue of more is no queue.
MOST = 1000
#: No transaction is open for longer. Two that missed each other ended within this time.
MISSED_SECS = 600


def doubted(unknown: Approval, actor: Actor) -> None:
    """Warn the pending requests of the same action that nobody knows how this run ended."""
    rows = _pending(unknown).filter(
        permission=unknown.permission, resource=unknown.resource, repeat_warning__isnull=True
    )
    for row in rows.order_by("id")[:MOST]:
        if repeats.digest_of(row.action) == unknown.repeat_digest:
            _warn(row, actor, reason="unknown")


def settled(run: Approval, actor: Actor) -> None:
    """Take the warning from the pending repeats of an action that did not run, or name another run that may have."""
    if run.outcome_settled_as != Outcome.DID_NOT_RUN:
        return
    for row in _pending(run).filter(repeat_warning__approval_id=str(run.id)).order_by("id"):
        _warn(row, actor, reason="did_not_run")


def sweep() -> int:
    """Sweeper: warn the requests that were stored while a run of the same action became doubtful. Return their number.

    The index names candidates: requests and doubts of the last minutes with the same tool, permission and resource.
    """
    since = later(-MISSED_SECS)
    same = {name: OuterRef(name) for name in ("project", "tool_name", "permission", "resource")}
    doubts = Approval.objects.filter(repeats.MAY_HAVE_RUN, repeat_digest__isnull=False, **same)
    rows = Approval.objects.pending().filter(requested_at__gt=since, repeat_warning__isnull=True)
    rows = rows.filter(Exists(doubts.filter(outcome_unknown_at__gt=since))).order_by("requested_at")
    return sweep_batch.each(WORK, lambda most: rows.values_list("id", flat=True)[:most], _missed, limit=MOST)


def _missed(approval_id: UUID) -> int:
    with unit_of_work.transaction():
        row = Approval.objects.pending().filter(id=approval_id, repeat_warning__isnull=True).first()
        if row is None or repeats.warning_for(row.project_id, row.tool_name, row.action) is None:
            return 0
        _warn(row, SWEEPER, reason="unknown")
        return 1


def _pending(run: Approval) -> ApprovalQuerySet:
    return Approval.objects.pending().filter(project=run.project_id, tool_name=run.tool_name)


def _warn(row: Approval, actor: Actor, *, reason: str) -> None:
    warning = repeats.warning_for(row.project_id, row.tool_name, row.action)
    detail = {"repeats": None if warning is None else warning["approval_id"]}
    steps.take(row, StepKind.REPEAT_SETTLED, actor, {"repeat_warning": warning}, reason=reason, detail=detail)
