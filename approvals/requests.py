"""Ask for approval: store an action as a pending row before anyone is told of it."""

from __future__ import annotations

from typing import Any, Literal

from django.db.models import BooleanField, ExpressionWrapper

from accounts.actors import Actor
from accounts.models import Project
from approvals import askers, attempt_clock, audit_events, decisions, permissions, verdicts
from approvals.askers import SessionFacts
from approvals.canonical_action import Ask, Prepared, prepare
from approvals.grants import matching
from approvals.life import preconditions
from approvals.models import Approval, PolicyVersion, ToolSchema
from approvals.outcomes import repeats
from approvals.plans import calls
from approvals.states import UNSTATED_REVERSIBILITY, raised_risk
from core.db import returning
from core.db.clock import database_now, later
from core.limits import LIMITS
from core.web import problems
from ledger import quota, unit_of_work


def ask(project_id: Any, ask: Ask, *, actor: Actor, via: Literal["connection", "rest"]) -> tuple[Approval, bool]:
    """Register a request and return `(approval, created)`. The same request_id with the same body is the same row.

    A rule may answer it at once; then the row is settled already.

    Raises invalid, conflict (same id, other body), not-found (no such session here), not-running, too-many.
    """
    prepared = prepare(str(project_id), ask)
    with unit_of_work.transaction():
        # Whether a grant or a plan may let it through is asked with the look at its session.
        passes = matching.exists_for(project_id, ask.tool_name) | calls.exist_for(project_id, ask.session)
        grants = ExpressionWrapper(passes, output_field=BooleanField())
        facts = askers.facts_of(ask.session, grants=grants)
        approval = returning.insert(_row(project_id, prepared, actor, via, facts))
        if approval is None:
            rows = Approval.objects.filter(project_id=project_id, request_id=ask.request_id)
            existing = rows.of(ask.session, ask.attempt).get()
            if not permissions.may_see(existing, actor):
                # A guessed request id reveals neither the request of another caller nor its approval id.
                raise problems.conflict("This request id belongs to another caller's request.")
            if existing.asked_digest != prepared.asked_digest:
                raise problems.conflict("This request id belongs to a different request.", approval_id=str(existing.id))
            return existing, False
        # A refusal from here on takes the row back.
        if actor.session is not None:
            schemas = [schema for schema in (ask.tool_schema, ask.response_schema) if schema is not None]
            quota.keep(actor.session, approval.action, approval.question or "", *schemas)
        if ask.tool_schema is not None:
            ToolSchema.objects.create(approval=approval, schema=ask.tool_schema)
        if approval.session is not None and approval.attempt is not None:
            # The row of the clock is locked after the row of the approval, as everywhere. An end of the attempt that
            # does not see this row yet has closed the clock by then.
            attempt_clock.wait_begins(approval.project_id, approval.session, approval.attempt, approval.via)
        else:
            _refuse_too_many(approval.project_id, actor)
        approval, verdict = verdicts.verdict_on(approval, facts)
        said: dict[str, Any] = {"risk": approval.risk, "reversibility": approval.reversibility}
        said |= audit_events.demands(approval)
        if approval.repeat_warning:
            said["repeats"] = approval.repeat_warning["approval_id"]
        audit_events.record_change(approval, "requested", actor, reason="asked", told=said, via=via, **said)
        return (approval if verdict is None else decisions.answer_by_rule(approval, verdict)), True


def _refuse_too_many(project_id: Any, actor: Actor) -> None:
    """Refuse an ask without an attempt when its key or project has too many pending. Raises too-many.

    Such an ask belongs to no attempt, so no end of an attempt cancels it. The project's row is the lock for the count,
    so that concurrent asks count each other.
    """
    Project.objects.select_for_update(no_key=True).get(pk=project_id)
    alone = Approval.objects.pending().filter(project_id=project_id, session=None)
    own = alone.filter(requested_by__kind=actor.kind, requested_by__id=actor.id)
    for rows, most, whose in (
        (own, LIMITS.pending_approvals_per_key, "by you"),
        (alone, LIMITS.pending_approvals_per_project, "in this project"),
    ):
        # The new one is among them.
        if rows.count() > most:
            detail = f"Too many approvals without a session are already pending, asked {whose}."
            raise problems.too_many(detail, attempt_clock.RETRY_SECS)


def _row(project_id: Any, prepared: Prepared, actor: Actor, via: str, facts: SessionFacts) -> Approval:
    ask = prepared.ask
    stated: Any = ask.preconditions  # Plain objects, as they came; `prepare` has checked them.
    return Approval(
        project_id=project_id,
        session=ask.session,
        attempt=ask.attempt,
        path=[str(each) for each in facts.path],
        request_id=ask.request_id,
        via=via,
        is_plan=ask.plan is not None,
        asked_digest=prepared.asked_digest,
        likeness=prepared.likeness,
        requested_by=audit_events.person(actor),
        requested_at=database_now(),
        expires_at=None if ask.expires_in_secs is None else later(ask.expires_in_secs),
        tool_name=ask.tool_name,
        tool_call_id=ask.tool_call_id,
        permission=ask.permission,
        resource=ask.resource,
        question=ask.question,
        risk=raised_risk(ask.risk),
        reversibility=ask.reversibility or UNSTATED_REVERSIBILITY,
        allowed_decisions=prepared.allowed_decisions,
        has_tool_schema=ask.tool_schema is not None,
        response_schema=ask.response_schema,
        action=prepared.action,
        digest=prepared.digest,
        repeat_warning=repeats.warning_for(project_id, ask.tool_name, prepared.action),
        facts_digest=preconditions.digest_of(stated),
        policy_version=PolicyVersion(project_id),
    )
