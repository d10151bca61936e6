"""The facts of a session for `approvals`, which knows no sessions."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from approvals.askers import SessionFacts
from orchestration.models import Session


def of(session_id: UUID, grants: Any) -> SessionFacts:
    """Return the facts of a session; empty ones for an unknown session. `grants`: see `approvals.askers.facts_of`."""
    columns = ("pk", "parent_id", "root", "depth", "options", "role", "has_role_reach")
    row = Session.objects.filter(pk=session_id).annotate(may_have_grants=grants).only(*columns).first()
    if row is None:
        return SessionFacts()
    return SessionFacts(
        path=path(row),
        disabled_tools=frozenset(row.options.get("disabled_tools", ())),
        role=row.role,
        has_role_reach=row.has_role_reach,
        may_have_grants=bool(row.may_have_grants),
    )


def path(session: Session) -> tuple[UUID, ...]:
    """Return the ids from the root of the tree to the session. It queries for each level below the first two."""
    found = [session.pk]
    above = session.parent_id
    while above is not None and above != session.root:
        found.append(above)
        above = Session.objects.values_list("parent_id", flat=True).get(pk=above)
    if session.parent_id is not None:
        found.append(session.root)
    return tuple(reversed(found))
