"""Keep the warnings of pending requests true: an earlier run of the same action became doubtful, or did not happen.

An ask gets its warning when it is stored: see `approvals.outcomes.repeats`.
"""

from __future__ import annotations

from accounts.actors import Actor
from approvals.life import steps
from approvals.models import Approval, ApprovalQuerySet
from approvals.outcomes import repeats
from approvals.states import Outcome, StepKind

#: The most pending requests that are looked at. A person reads each; a queue of more is no queue.
MOST = 1000


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


def _pending(run: Approval) -> ApprovalQuerySet:
    return Approval.objects.pending().filter(project=run.project_id, tool_name=run.tool_name)


def _warn(row: Approval, actor: Actor, *, reason: str) -> None:
    warning = repeats.warning_for(row.project_id, row.tool_name, row.action)
    detail = {"repeats": None if warning is None else warning["approval_id"]}
    steps.take(row, StepKind.REPEAT_SETTLED, actor, {"repeat_warning": warning}, reason=reason, detail=detail)
