"""The facts of the session that asks, as plain values: this app knows no sessions."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from uuid import UUID


@dataclass(frozen=True, slots=True)
class SessionFacts:
    """`path` is the way from the root of the tree to the session that asks."""

    path: tuple[UUID, ...] = ()
    disabled_tools: frozenset[str] = frozenset()


#: The app that has sessions registers it at start-up. Without it, nothing is known of a session.
_facts_of: Callable[[UUID], SessionFacts] | None = None


def describe_by(facts_of: Callable[[UUID], SessionFacts]) -> None:
    """Ask this function for the facts of a session."""
    global _facts_of
    _facts_of = facts_of


def facts_of(session: UUID | None) -> SessionFacts:
    """Return the facts of the session that asks. Empty without a session."""
    return SessionFacts() if session is None or _facts_of is None else _facts_of(session)
