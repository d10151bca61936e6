"""The facts of a session for `approvals`, which knows no sessions."""

from __future__ import annotations

import functools
from typing import Any
from uuid import UUID

from approvals.askers import SessionFacts
from orchestration.models import Session

COLUMNS = ("pk", "parent_id", "root", "depth", "options", "role", "has_role_reach", "owner_id")


def of(session_id: UUID, grants: Any) -> SessionFacts:
    """Return the facts of a session; empty ones for an unknown session. `grants`: see `approvals.askers.facts_of`."""
    row = Session.objects.filter(pk=session_id).annotate(may_have_grants=grants).only(*COLUMNS).first()
    if row is None:
        return SessionFacts()
    way = path(row)
    return SessionFacts(
        path=way,
        disabled_tools=frozenset(row.options.get("disabled_tools", ())),
        role=row.role,
        has_role_reach=row.has_role_reach,
        may_have_grants=bool(row.may_have_grants),
        owner=row.owner_id,
        metadata=lambda: row.metadata,
        roles_above=functools.partial(roles_above, way),
    )


def roles_above(way: tuple[UUID, ...]) -> tuple[str, ...]:
    """Return the roles with reach of the sessions above the last of this path, from the root on. A label is none."""
    rows = Session.objects.filter(pk__in=way[:-1], has_role_reach=True).exclude(role="")
    found = dict(rows.values_list("pk", "role"))
    return tuple(found[each] for each in way[:-1] if each in found)


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
