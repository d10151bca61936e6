"""`GET snapshot`: the current state, and the cursor from which the feed has every later change."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any
from uuid import UUID

from approvals import schemas as approval_shapes
from approvals.models import Approval
from approvals.selectors import with_waiters
from core.web import pages
from ledger import feed
from orchestration.models import Session
from orchestration.sessions import schemas

MAX_ROWS = 1000


def build(project_id: UUID, *, with_sessions: bool = True, with_approvals: bool = True) -> dict[str, Any]:
    """Return `{cursor, sessions, approvals, truncated}`: unfinished sessions and pending approvals, oldest first.

    A list that was not asked for is None. The cursor is read before the rows. A change between the two reads is in the
    rows *and* in the feed beyond the cursor; in the other order it could be in neither.
    """
    cursor, room = feed.head(project_id), pages.Room()
    is_cut = False

    def fitting(rows: Iterator[Any], shape: Callable[[Any], dict[str, Any]]) -> list[dict[str, Any]]:
        nonlocal is_cut
        shown: list[dict[str, Any]] = []
        for row in rows:
            each = shape(row)
            if len(shown) == MAX_ROWS or not room.takes(each):
                is_cut = True
                break
            shown.append(each)
        return shown

    sessions = approvals = None
    if with_sessions:
        unfinished = schemas.with_liveness(Session.objects.filter(project_id=project_id, finished_at=None))
        sessions = fitting(pages.walk(unfinished, ("created_at", "pk")), schemas.session)
    if with_approvals:
        pending: Any = with_waiters(Approval.objects.filter(project_id=project_id).pending())
        approvals = fitting(pages.walk(pending, ("requested_at", "id")), approval_shapes.approval)
    return {"cursor": cursor, "sessions": sessions, "approvals": approvals, "truncated": is_cut}
