"""The queue (I10): pending requests oldest first, then approved but never run, decided, expired and cancelled ones."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from django.db.models import Q
from django.http import HttpRequest

from accounts import projects
from approvals.models import ApprovalQuerySet
from approvals.selectors import snoozed_by, with_claims, with_session_name, with_waiters
from approvals.states import Outcome, Risk, Status
from core.adminsite.model_admins import MOST_COUNTED, BoundedPaginator
from wardroom import strict

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
        "snoozed",
        "Snoozed by me",
        lambda rows: rows.pending(),
        ("requested_at", "id"),
        "You have put no request off.",
    ),
    Tab(
        "unconsumed",
        "Approved, not run",
        lambda rows: rows.unconsumed(),
        ("-settled_at", "id"),
        "Every approved action was consumed, to run once.",
    ),
    Tab(
        "unknown",
        "Unknown outcome",
        lambda rows: rows.filter(outcome=Outcome.UNKNOWN),
        ("-outcome_unknown_at", "id"),
        "Every action that was taken to run has a known outcome.",
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
COUNTED = ("pending", "unconsumed", "unknown")


def context(rows: ApprovalQuerySet, request: HttpRequest) -> dict[str, Any]:
    """Return everything that the queue's template shows, for these rows and this address."""
    chosen = {name: request.GET.get(name, "").strip() for name in ("session", "tool", "risk", "project")}
    session_id = None
    with contextlib.suppress(ValueError):
        session_id = UUID(chosen["session"])
    if (chosen["session"] and not session_id) or not all(map(strict.is_storable, chosen.values())):
        rows = rows.none()
    columns = {"session": session_id, "tool_name": chosen["tool"], "risk": chosen["risk"]}
    columns["project__slug"] = chosen["project"]
    rows = rows.filter(**{name: value for name, value in columns.items() if value})
    tab = next((tab for tab in TABS if tab.name == request.GET.get("status")), TABS[0])
    # Count plain rows, and annotate only the page that is shown: a long queue opens as fast as a short one.
    user: Any = request.user
    asleep = snoozed_by(user.pk)
    own = {"pending": ~asleep, "snoozed": Q(asleep)}
    ordered = tab.rows(rows).filter(own.get(tab.name, Q())).order_by(*tab.order)
    page = BoundedPaginator(ordered, PER_PAGE).get_page(request.GET.get("page"))
    shown = with_session_name(with_claims(with_waiters(ordered)))
    page.object_list = shown[max(0, page.start_index() - 1) : page.end_index()]
    tabs = []
    for other in TABS:
        address = request.GET.copy()
        address["status"] = other.name
        address.pop("page", None)
        number = _number(other.rows(rows).filter(own.get(other.name, Q()))) if other.name in COUNTED else None
        tabs.append({"tab": other, "current": other is tab, "address": address.urlencode(), "number": number})
    return {
        "tab": tab,
        "tabs": tabs,
        "page": page,
        "chosen": chosen,
        "filtered": any(chosen.values()),
        "risks": Risk.values,
        "projects": list(projects.visible_to(user).values_list("slug", flat=True)),
        "pending": _number(TABS[0].rows(rows).filter(~asleep)),
        "here": request.GET.urlencode(),
    }


def _number(rows: ApprovalQuerySet) -> int:
    return rows.order_by()[:MOST_COUNTED].count()
