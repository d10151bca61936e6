"""The facts that an action depends on: approved with it, and stated again by its executor before it runs.

Staff approve the action as the facts are. An executor that finds other facts must not run it: the approval is then
*stale* for good. The person's answer is kept and shown, and not used.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from accounts.actors import Actor
from approvals import audit_events
from approvals.models import Approval
from approvals.states import Status
from core.db import returning
from core.db.clock import database_now
from core.web import problems
from ledger import unit_of_work
from wardroom import jcs

Facts = Sequence[Mapping[str, str]]
CHECKER = Actor.system("preconditions")


class Stale(problems.Problem):
    """The refusal of a consumption whose facts differ. `approval` gets a record of it after the rollback."""

    def __init__(self, approval: Approval, differences: list[dict[str, Any]]) -> None:
        detail = "What this action depends on has changed since it was approved. Ask again."
        super().__init__("stale", 409, detail, differences=differences)
        self.approval = approval
        self.differences = differences


def digest_of(facts: Facts | None) -> str:
    """Return the digest of the names and values of facts, in any order. Empty without facts."""
    if not facts:
        return ""
    return jcs.digest_of(jcs.canonical({fact["name"]: fact["value_hash"] for fact in facts}))


def stale(approval: Approval, stated: Facts) -> Stale:
    """Return the refusal that names each difference between the approved facts and the stated ones."""
    if approval.stale_at is not None:
        return Stale(approval, approval.stale or [])
    approved = {fact["name"]: fact["value_hash"] for fact in approval.preconditions}
    found = {fact["name"]: fact["value_hash"] for fact in stated}
    differences: list[dict[str, Any]] = [
        {
            "name": name,
            "reason": "unknown" if name not in approved else "missing" if name not in found else "changed",
            "approved": approved.get(name),
            "stated": found.get(name),
        }
        for name in sorted(approved.keys() | found.keys())
        if approved.get(name) != found.get(name)
    ]
    return Stale(approval, differences)


@contextmanager
def noting() -> Iterator[None]:
    """Record a stale approval after the transaction inside has been rolled back by its refusal.

    In between another executor may take it with the approved facts. Then that run counts, and nothing is recorded.
    """
    try:
        yield
    except Stale as refusal:
        with unit_of_work.transaction():
            rows = Approval.objects.filter(
                id=refusal.approval.id, status=Status.APPROVED, consumed_at__isnull=True, stale_at__isnull=True
            )
            names = [each["name"] for each in refusal.differences]
            told = {"facts": names}
            for noted in returning.update(rows, stale_at=database_now(), stale=refusal.differences):
                audit_events.record_change(noted, "stale", CHECKER, reason="preconditions", told=told, facts=names)
        raise
