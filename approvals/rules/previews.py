"""Preview a rule: judge the requests of the last days by it alone, and compare with the answers of people."""

from __future__ import annotations

import dataclasses
import time
from typing import Any
from uuid import UUID

from accounts.actors import Actor
from approvals import askers, permissions
from approvals.askers import SessionFacts
from approvals.display import copies
from approvals.models import Approval, Rule
from approvals.rules import editing, judging
from approvals.rules.bodies import RuleBody
from approvals.rules.compiled import compiled, indexed
from approvals.rules.schemas import RuleDisagreement, RulePreviewed
from approvals.states import RuleOutcome, Status, Via
from core.db import clock

#: The bounds of one preview: requests, seconds, and disagreements that are listed.
MOST_ROWS, MOST_SECS, MOST_LISTED = 10_000, 5.0, 50
BATCH = 500
CONTRADICTS = {RuleOutcome.ALLOW: Status.DENIED, RuleOutcome.DENY: Status.APPROVED}


def unsaved(project_id: Any, body: RuleBody) -> Rule:
    """Return a rule as it would be stored."""
    rule = Rule(project_id=project_id)
    editing.fill(rule, body)
    return rule


def preview(project_id: Any, rule: Rule, days: int, actor: Actor) -> RulePreviewed:
    """Judge the requests of the last days, the newest first, within the bounds of a preview.

    A condition is a question about every argument. So an actor without the right to see hidden values asks about the
    copies that it may see. It reads the roles that sessions have now, and the risk to which the rules of that time
    raised the request.
    """
    # Also a silent one is judged as if it answered.
    mine = dataclasses.replace(compiled(rule), shadow=False)
    sees_secrets = permissions.may_reveal(actor, project_id)
    alone, began = indexed([mine]), time.monotonic()
    counts = dict.fromkeys(RuleOutcome, 0)
    scanned, undecided, is_cut, listed = 0, 0, False, list[RuleDisagreement]()
    facts: dict[UUID | None, SessionFacts] = {None: SessionFacts()}
    rows = Approval.objects.filter(project_id=project_id, requested_at__gte=clock.later(-86_400 * days))
    ordered, place = rows.order_by("-requested_at", "-id"), 0
    while batch := list(ordered[place : place + BATCH]):
        for row in batch:
            if scanned == MOST_ROWS or time.monotonic() - began > MOST_SECS:
                is_cut = True
                break
            scanned += 1
            if not sees_secrets:
                row = copies.without_secrets(row)
            # Once for each session, and only for a rule that reads it.
            asker = row.session if mine.reads_session else None
            if asker not in facts:
                facts[asker] = askers.facts_of(asker)
            found = judging.judge(row, facts[asker], alone)
            outcome = found.outcome
            if outcome is None:
                continue
            counts[outcome] += 1
            undecided += bool(found.undecided) or outcome is not mine.outcome
            if CONTRADICTS.get(outcome) == row.status and row.decided_via != Via.RULE and len(listed) < MOST_LISTED:
                at = clock.moment(row.requested_at)
                listed.append(RuleDisagreement(str(row.id), row.tool_name, at, outcome.value, str(row.status)))
        if is_cut:
            break
        place += BATCH
    return RulePreviewed(
        scanned=scanned,
        cut_off=is_cut,
        matched=sum(counts.values()),
        would_allow=counts[RuleOutcome.ALLOW],
        would_deny=counts[RuleOutcome.DENY],
        would_ask=counts[RuleOutcome.ASK] + counts[RuleOutcome.REVIEW],
        undecided=undecided,
        disagreements=listed,
    )
