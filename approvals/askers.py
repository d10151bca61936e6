"""The facts of the session that asks, as plain values: this app knows no sessions."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from django.db.models import Value


@dataclass(frozen=True, slots=True)
class SessionFacts:
    """`path` is the way from the root of the tree to the session that asks.

    Without `has_role_reach` the role is a label that a spawner chose. `may_have_grants` is false only if none exist.
    `owner` is the id of the person who started the session. `metadata` and `roles_above` (the roles with reach of the
    sessions above it) are read when a rule needs them: others do not pay for it.
    """

    path: tuple[UUID, ...] = ()
    disabled_tools: frozenset[str] = frozenset()
    role: str = ""
    has_role_reach: bool = False
    may_have_grants: bool = True
    owner: int | None = None
    metadata: Callable[[], Mapping[str, Any]] = dict
    roles_above: Callable[[], tuple[str, ...]] = tuple


#: The app that has sessions registers it at start-up. Without it, nothing is known of a session.
_facts_of: Callable[[UUID, Any], SessionFacts] | None = None


def describe_by(facts_of: Callable[[UUID, Any], SessionFacts]) -> None:
    """Ask this function for the facts of a session."""
    global _facts_of
    _facts_of = facts_of


def facts_of(session: UUID | None, *, grants: Any = None) -> SessionFacts:
    """Return the facts of the session that asks. Empty without a session.

    `grants` is the condition that grants may exist for the request. The same statement evaluates it.
    """
    if session is None or _facts_of is None:
        return SessionFacts()
    return _facts_of(session, Value(True) if grants is None else grants)
