"""The queue (I10): pending requests oldest first, then approved but never run, decided, expired and cancelled ones."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from django.http import HttpRequest

from accounts import projects
from approvals.bodies import storable
from approvals.models import ApprovalQuerySet
from approvals.selectors import with_session_name, with_waiters
from approvals.states import Risk, Status
from core.adminsite.model_admins import MOST_COUNTED, BoundedPaginator

PER_PAGE = 50


@dataclass(frozen=True, slots=True)
class Tab:
    """One tab of the queue: its rows, their order, and the text for an empty list."""

    name: str
    title: str
    rows: Callable[[ApprovalQuerySet], ApprovalQuerySet]
    order: tuple[str, ...]
    empty: str


TABS = (
    Tab(
        "pending",
        "Pending",
        lambda rows: rows.pending(),
        ("requested_at", "id"),
        "No request waits for an answer.",
    ),
    Tab(
        "unconsumed",
        "Approved, not run",
        lambda rows: rows.unconsumed(),
        ("-settled_at", "id"),
        "Every approved action was consumed, to run once.",
    ),
    Tab(
        "decided",
        "Decided",
        lambda rows: rows.decided(),
        ("-settled_at", "id"),
        "Nobody has decided anything yet.",
    ),
    Tab(
        "expired",
        "Expired",
        lambda rows: rows.filter(status=Status.EXPIRED),
        ("-settled_at", "id"),
        "No request has expired unanswered.",
    ),
    Tab(
        "cancelled",
        "Cancelled",
        lambda rows: rows.filter(status=Status.CANCELLED),
        ("-settled_at", "id"),
        "No request was cancelled.",
    ),
)
COUNTED = ("pending", "unconsumed")


def context(rows: ApprovalQuerySet, request: HttpRequest) -> dict[str, Any]:
    """Return everything that the queue's template shows, for these rows and this address."""
    chosen = {name: request.GET.get(name, "").strip() for name in ("session", "tool", "risk", "project")}
    rows = _filtered(rows, chosen)
    tab = next((tab for tab in TABS if tab.name == request.GET.get("status")), TABS[0])
    # Count plain rows, and annotate only the page that is shown: a long queue opens as fast as a short one.
    ordered = tab.rows(rows).order_by(*tab.order)
    page = BoundedPaginator(ordered, PER_PAGE).get_page(request.GET.get("page"))
    page.object_list = with_session_name(with_waiters(ordered))[max(0, page.start_index() - 1) : page.end_index()]
    user: Any = request.user
    return {
        "tab": tab,
        "tabs": [_heading(other, tab, rows, request) for other in TABS],
        "page": page,
        "chosen": chosen,
        "filtered": any(chosen.values()),
        "risks": Risk.values,
        "projects": list(projects.visible_to(user).values_list("slug", flat=True)),
        "pending": _number(TABS[0].rows(rows)),
        "here": request.GET.urlencode(),
    }


def _heading(tab: Tab, current: Tab, rows: ApprovalQuerySet, request: HttpRequest) -> dict[str, Any]:
    address = request.GET.copy()
    address["status"] = tab.name
    address.pop("page", None)
    number = _number(tab.rows(rows)) if tab.name in COUNTED else None
    return {"tab": tab, "current": tab is current, "address": address.urlencode(), "number": number}


def _filtered(rows: ApprovalQuerySet, chosen: dict[str, str]) -> ApprovalQuerySet:
    if not all(map(storable, chosen.values())):
        return rows.none()
    if chosen["session"]:
        rows = rows.filter(session=_uuid(chosen["session"])) if _uuid(chosen["session"]) else rows.none()
    if chosen["tool"]:
        rows = rows.filter(tool_name=chosen["tool"])
    if chosen["risk"]:
        rows = rows.filter(risk=chosen["risk"])
    if chosen["project"]:
        rows = rows.filter(project__slug=chosen["project"])
    return rows


def _number(rows: ApprovalQuerySet) -> int:
    return rows.order_by()[:MOST_COUNTED].count()


def _uuid(text: str) -> UUID | None:
    try:
        return UUID(text)
    except ValueError:
        return None
