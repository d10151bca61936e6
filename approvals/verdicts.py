"""Rules that answer a new request in the transaction that stores it, before a person sees it."""

from __future__ import annotations

from dataclasses import dataclass

from approvals.askers import SessionFacts
from approvals.models import Approval
from approvals.states import Decision
from core.display.text import shortened


@dataclass(frozen=True, slots=True)
class Verdict:
    """The answer of a rule. The row and the audit name the rule; `message` is for the agent."""

    rule: str
    decision: Decision
    message: str


def verdict_on(approval: Approval, facts: SessionFacts) -> Verdict | None:
    """Return the verdict on a new request, or None: then people answer it."""
    if approval.tool_name in facts.disabled_tools:
        why = f"The tool {shortened(approval.tool_name)} is disabled for this session."
        return Verdict("disabled_tools", Decision.DENY, why)
    return None
