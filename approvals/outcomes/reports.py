"""Take the executor's report of how a consumed action ended, by REST or by the events of its connection."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from accounts.actors import Actor
from approvals import audit_events, permissions
from approvals.models import Approval, OutcomeNote
from approvals.outcomes import bodies, unknown
from approvals.selectors import find
from approvals.states import Outcome, OutcomeNoteKind
from core.db import returning
from core.db.clock import database_now
from core.web import problems, request_body
from ledger import quota, unit_of_work
from ledger.models import AuditEntry


def report(
    project_id: Any,
    approval_id: UUID,
    actor: Actor,
    *,
    outcome: str,
    claim: str | None = None,
    detail: str | None = None,
    probe: Any = None,
) -> Approval:
    """Record how the run ended. The same outcome again changes nothing, and a late report is kept.

    Only the executor that holds the claim knows that its run ended; *unknown* needs no claim. Raises not-found,
    forbidden for a caller that neither asked nor took it to run, not-consumed, consumed for another claim, and
    already-reported.
    """
    said = {"outcome": outcome, "claim": claim, "detail": detail, "probe": probe}
    request_body.convert(said, bodies.ApprovalOutcomeReport)
    with unit_of_work.transaction():
        approval = find(project_id, approval_id, actor, waiters=False)
        check_executor(approval, actor)
        if approval.consumed_at is None:
            raise problems.conflict("Nothing has taken this action to run, so it has no outcome.", "not-consumed")
        if outcome != Outcome.UNKNOWN and claim != approval.consume_claim:
            raise problems.conflict("The action was taken to run by another claim.", "consumed")
        if actor.session is not None:
            quota.keep(actor.session, detail or "", probe or "")
        if outcome == Outcome.UNKNOWN:
            unknown.become_unknown(approval, actor, "reported", detail=detail, probe=probe)
            return find(project_id, approval_id, actor, waiters=False)
        if not _take(approval, Outcome(outcome), actor, detail, probe):
            earlier = (
                approval.outcome_notes.filter(kind=OutcomeNoteKind.REPORTED).exclude(outcome=Outcome.UNKNOWN).get()
            )
            if earlier.outcome != outcome:
                raise problems.conflict(
                    f"It was reported already that it {_WORDS[earlier.outcome]}.", "already-reported"
                )
        return find(project_id, approval_id, actor, waiters=False)


def check_executor(approval: Approval, actor: Actor) -> None:
    """Raise forbidden for a caller that neither asked nor took the action to run: an approver may consume it too."""
    if permissions.owns(approval, actor):
        return
    rows = AuditEntry.objects.filter(project=approval.project_id, subject=f"approval:{approval.id}")
    if not rows.filter(action="approval.consumed", actor=str(actor)).exists():
        raise problems.forbidden("Only the asker may do this, and whoever took the action to run.")


_WORDS = {Outcome.RAN.value: "ran", Outcome.FAILED.value: "failed"}


@dataclass(frozen=True, slots=True)
class Finished:
    """An event `tool_finished` of a child. `approval` is the request id of its action, if the event names one."""

    tool_name: str
    ok: bool
    approval: str | None = None
    detail: str | None = None


def tools_finished(session_id: UUID, attempt: int, finished: Sequence[Finished]) -> None:
    """Take the events of ended tools as reports. Joins the caller's transaction.

    An event that names no request counts for the only open one of its tool that the child asked for: with several open,
    none of them is known to have ended. A key may have asked for the same session, and runs its action itself.
    """
    with unit_of_work.transaction():
        rows = Approval.objects.of(session_id, attempt).filter(consumed_at__isnull=False, outcome_reported_at=None)
        open_rows = list(rows.order_by("consumed_at"))
        for each in finished:
            if each.approval is not None:
                found = [row for row in open_rows if row.request_id == each.approval]
            else:
                found = [
                    row for row in open_rows if row.tool_name == each.tool_name and row.requested_by["kind"] == "child"
                ]
            if len(found) != 1:
                continue
            outcome = Outcome.RAN if each.ok else Outcome.FAILED
            _take(found[0], outcome, audit_events.child(found[0]), each.detail, None)
            open_rows.remove(found[0])


def _take(approval: Approval, outcome: Outcome, actor: Actor, detail: str | None, probe: Any) -> bool:
    """Run the one UPDATE that takes the first report. A settlement of a person stays beside it."""
    at = database_now()
    rows = Approval.objects.filter(id=approval.id, consumed_at__isnull=False, outcome_reported_at=None)
    for changed in returning.update(rows, outcome=outcome, outcome_reported_at=at):
        OutcomeNote.objects.create(
            approval=changed,
            kind=OutcomeNoteKind.REPORTED,
            outcome=outcome,
            at=at,
            by=audit_events.person(actor),
            detail=detail or None,
            probe=probe,
        )
        settled = changed.outcome_settled_as
        audit_events.record_change(
            changed,
            "outcome_reported",
            actor,
            reason=outcome.value,
            told={"outcome": outcome.value},
            settled_as=settled,
        )
        return True
    return False
