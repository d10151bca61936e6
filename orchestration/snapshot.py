"""`GET snapshot`: what stands now, and the cursor from which the feed tells the rest."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from approvals import shapes as approval_shapes
from approvals.finding import judged
from approvals.models import Approval
from ledger import feed
from orchestration import shapes
from orchestration.models import Session

MOST = 1000


def of(project_id: UUID, *, with_sessions: bool = True, with_approvals: bool = True) -> dict[str, Any]:
    """`{cursor, sessions, approvals, truncated}`: what is not over, what is pending, oldest first; None if unasked.

    The cursor is read before the rows. A change between the two is in the rows *and* in the feed beyond the cursor;
    the other way round it could be in neither.
    """
    cursor = feed.head(project_id)
    sessions = _sessions(project_id) if with_sessions else None
    approvals = _approvals(project_id) if with_approvals else None
    return {
        "cursor": cursor,
        "sessions": None if sessions is None else sessions[:MOST],
        "approvals": None if approvals is None else approvals[:MOST],
        "truncated": len(sessions or ()) > MOST or len(approvals or ()) > MOST,
    }


def _sessions(project_id: UUID) -> list[dict[str, Any]]:
    rows = shapes.with_line(Session.objects.filter(project_id=project_id, finished_at=None))
    return [shapes.session(row) for row in rows.order_by("created_at", "pk")[: MOST + 1]]


def _approvals(project_id: UUID) -> list[dict[str, Any]]:
    rows: Any = judged(Approval.objects.filter(project_id=project_id).pending())
    return [approval_shapes.approval(row) for row in rows.order_by("requested_at", "id")[: MOST + 1]]
