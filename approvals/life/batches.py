"""Answer many requests in one call. Each item is a decision and a transaction of its own: one refusal stops nobody."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from accounts.actors import Actor
from approvals import decisions
from approvals.decision_validation import Answer
from approvals.models import Approval
from core.web import problems


@dataclass(frozen=True, slots=True)
class Item:
    """One request of a batch, and the answer to it."""

    project_id: Any
    approval_id: UUID
    answer: Answer


@dataclass(frozen=True, slots=True)
class Result:
    """The decided request, or why the answer was refused."""

    item: Item
    approval: Approval | None = None
    refusal: problems.Problem | None = None


def decide(items: Iterable[Item], actor: Actor, via: str) -> list[Result]:
    """Decide each item as `decisions.decide` does, and return one result for each, in the same order.

    The same batch again by the same person decides nothing twice: each item is answered as the first time.
    """
    results = []
    for item in items:
        try:
            decided = decisions.decide(item.project_id, item.approval_id, item.answer, actor, via)
        except problems.Problem as refusal:
            results.append(Result(item, refusal=refusal))
        else:
            results.append(Result(item, decided))
    return results
