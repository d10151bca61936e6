"""`GET snapshot`: the current state, and the cursor from which the feed has every later change."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Annotated, Any, TypeVar
from uuid import UUID

from msgspec import Struct

from approvals import schemas as approval_shapes
from approvals.models import Approval
from approvals.selectors import with_waiters
from core.web import pages
from core.web.fields import says
from ledger import feed
from orchestration.models import Session
from orchestration.sessions import schemas
from orchestration.sessions.schemas import SessionShape

MAX_ROWS = 1000
Shown = TypeVar("Shown")


class Snapshot(Struct, frozen=True):
    cursor: Annotated[int, says("The cursor to continue from in the feed.")]
    sessions: Annotated[list[SessionShape] | None, says("Every session that has not ended.")]
    approvals: Annotated[list[approval_shapes.Approval] | None, says("Every pending approval, as in `GET approvals`.")]
    truncated: Annotated[bool, says("Some entries did not fit: page through the lists.")]


def build(project_id: UUID, *, with_sessions: bool = True, with_approvals: bool = True) -> Snapshot:
    """Return the unfinished sessions and the pending approvals, oldest first, and the cursor.

    A list that was not asked for is None. The cursor is read before the rows. A change between the two reads is in the
    rows *and* in the feed beyond the cursor; in the other order it could be in neither.
    """
    cursor, room = feed.head(project_id), pages.Room()
    is_cut = False

    def fitting(rows: Iterator[Any], shape: Callable[[Any], Shown]) -> list[Shown]:
        nonlocal is_cut
        shown: list[Shown] = []
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
    return Snapshot(cursor, sessions, approvals, is_cut)
