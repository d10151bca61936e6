"""A session and its descendants, nested, up to the size of one answer. Cut nodes are marked."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from django.db.models import Count
from msgspec import structs

from core.web import pages
from orchestration.models import Session
from orchestration.sessions import schemas
from orchestration.sessions.schemas import SessionTreeShape

MAX_SESSIONS = 1000


def build(top: UUID) -> SessionTreeShape:
    """Return the session with its `children`, each in the same form, oldest first. Nearer levels come first.

    `truncated` marks a session with children that are not here. `GET sessions?parent=` lists them in pages, and the
    tree of such a session continues below it.
    """
    room = pages.Room()
    shown = {top: _node(schemas.with_liveness(Session.objects.all()).get(pk=top))}
    room.takes(shown[top])
    level = [top]
    while level:
        found: list[UUID] = []
        rows = schemas.with_liveness(Session.objects.filter(parent__in=level))
        for row in pages.walk(rows, ("created_at", "pk")):
            node = _node(row)
            if len(shown) == MAX_SESSIONS or not room.takes(node):
                found = []  # The tree is full.
                break
            shown[row.pk] = node
            shown[row.parent_id].children.append(node)
            found.append(row.pk)
        level = found
    children = Session.objects.filter(parent__in=list(shown)).values_list("parent").annotate(Count("pk")).order_by()
    counts = dict(children)
    for pk, node in shown.items():
        node.truncated = counts.get(pk, 0) > len(node.children)
    return shown[top]


def _node(row: Any) -> SessionTreeShape:
    return SessionTreeShape(**structs.asdict(schemas.session(row)), children=[], truncated=False)
