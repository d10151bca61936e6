"""A session and what is below it, nested: as much as one answer holds, and where there is more."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from django.db.models import Count

from core.web import pages
from orchestration.models import Session
from orchestration.sessions import schemas

MOST = 1000


def of(top: UUID) -> dict[str, Any]:
    """The session with its `children`, each likewise, oldest first; those nearest to it before those further down.

    `truncated` says of each session that not all of its children are here. `GET sessions?parent=` has them in pages,
    and the tree of one of them goes on below it.
    """
    room = pages.Room()
    shown = {top: _node(schemas.with_line(Session.objects.all()).get(pk=top))}
    room.takes(shown[top])
    level = [top]
    while level:
        level = _below(level, shown, room)
    _mark(shown)
    return shown[top]


def _below(level: list[UUID], shown: dict[UUID, dict[str, Any]], room: pages.Room) -> list[UUID]:
    """Show the children of these, as far as there is room; the ids of those that are shown, none once it is full."""
    found = []
    rows = schemas.with_line(Session.objects.filter(parent__in=level))
    for row in pages.walk(rows, ("created_at", "pk")):
        node = _node(row)
        if len(shown) == MOST or not room.takes(node):
            return []
        shown[row.pk] = node
        shown[row.parent_id]["children"].append(node)
        found.append(row.pk)
    return found


def _mark(shown: dict[UUID, dict[str, Any]]) -> None:
    there = Session.objects.filter(parent__in=list(shown)).values_list("parent").annotate(Count("pk")).order_by()
    counts = dict(there)
    for pk, node in shown.items():
        node["truncated"] = counts.get(pk, 0) > len(node["children"])


def _node(row: Any) -> dict[str, Any]:
    return {**schemas.session(row), "children": [], "truncated": False}
