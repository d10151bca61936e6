"""Rules and grants that answer a new request in the transaction that stores it, before a person sees it."""

from __future__ import annotations

from dataclasses import dataclass

from approvals import schemas
from approvals.askers import SessionFacts
from approvals.grants import matching
from approvals.models import Approval
from approvals.states import Decision
from core.display.text import shortened


@dataclass(frozen=True, slots=True)
class Verdict:
    """The answer of a rule or a grant. The row and the audit name it; `message` is for the agent, `by` for staff."""

    rule: str
    decision: Decision
    message: str | None = None
    by: str | None = None


def verdict_on(approval: Approval, facts: SessionFacts) -> Verdict | None:
    """Return the verdict on a new request, or None: then people answer it."""
    if approval.tool_name in facts.disabled_tools:
        why = f"The tool {shortened(approval.tool_name)} is disabled for this session."
        return Verdict("disabled_tools", Decision.DENY, why)
    grant = matching.use(approval, facts)
    if grant is not None:
        by = f"the grant {str(grant.id)[:8]} of {schemas.display_name(grant.granted_by)}"
        return Verdict(grant.rule, Decision.APPROVE, by=by)
    return None
