"""The queue (I10): pending requests oldest first, then approved but never run, decided, expired and cancelled ones."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode
from uuid import UUID

from django.db.models import Q
from django.http import HttpRequest

from accounts import projects
from approvals import permissions, selectors
from approvals.adminsite import cards, search
from approvals.models import ApprovalQuerySet
from approvals.selectors import snoozed_by, with_claims, with_session_name, with_waiters
from approvals.states import Outcome, Risk, Status, Via
from core.adminsite.model_admins import MOST_COUNTED, BoundedPaginator
from core.db.clock import later
from wardroom import strict

PER_PAGE = 50
OLDEST_FIRST, NEWEST_FIRST = ("requested_at", "id"), ("-settled_at", "-id")
#: The filters, and the name under which a login keeps them.
FILTERS = ("whose", "q", "tool", "session", "risk", "project")
KEPT = "approvals.queue"
#: Settled requests that stand below the queue, and the seconds for which they do.
MOST_RECENT, RECENT_SECS = 5, 60


@dataclass(frozen=True, slots=True)
class Tab:
    """One tab of the queue: its rows, their order, and the text for an empty list."""

    name: str
    title: str
    rows: Callable[[ApprovalQuerySet], ApprovalQuerySet]
    order: tuple[str, ...]
    empty: str


PENDING, SNOOZED, *SETTLED = TABS = (
    Tab("pending", "Pending", lambda rows: rows.pending(), OLDEST_FIRST, "No request waits for an answer."),
    Tab("snoozed", "Snoozed by me", lambda rows: rows.pending(), OLDEST_FIRST, "You have put no request off."),
    Tab(
        "unconsumed",
        "Approved, not run",
        lambda rows: rows.unconsumed(),
        NEWEST_FIRST,
        "Every approved action was consumed, to run once.",
    ),
    Tab("never-run", "Never run", selectors.never_run, NEWEST_FIRST, "Every approved action ran, or still may."),
    Tab(
        "unknown",
        "Unknown outcome",
        lambda rows: rows.filter(outcome=Outcome.UNKNOWN),
        ("-outcome_unknown_at", "-id"),
        "Every action that was taken to run has a known outcome.",
    ),
    Tab(
        "decided",
        "Decided",
        # What the constraint knows is said again for the index, which holds the settled rows alone.
        lambda rows: rows.decided().filter(settled_at__isnull=False),
        NEWEST_FIRST,
        "Nobody has decided anything yet.",
    ),
    Tab(
        "expired",
        "Expired",
        lambda rows: rows.filter(status=Status.EXPIRED),
        NEWEST_FIRST,
        "No request has expired unanswered.",
    ),
    Tab(
        "cancelled",
        "Cancelled",
        lambda rows: rows.filter(status=Status.CANCELLED),
        NEWEST_FIRST,
        "No request was cancelled.",
    ),
)
COUNTED = ("pending", "unconsumed", "never-run", "unknown")
WHOSE = (("mine", "Mine"), ("groups", "My groups"), ("all", "All"))


def kept(request: HttpRequest) -> str | None:
    """Return the query to go on with, or None to show the address as it is.

    A filter that a form has set is kept in the login, and applies to the bare address from then on.
    """
    if "set" in request.GET:
        chosen = {name: value for name, value in _chosen(request).items() if value}
        request.session[KEPT] = chosen
        status = {"status": request.GET["status"]} if request.GET.get("status") else {}
        return urlencode({**status, **chosen}) or f"status={PENDING.name}"
    if not request.GET and request.session.get(KEPT):
        return urlencode(request.session[KEPT])
    return None


def context(rows: ApprovalQuerySet, request: HttpRequest) -> dict[str, Any]:
    """Return everything that the queue's template shows, for these rows and this address."""
    user: Any = request.user
    chosen = _chosen(request)
    whole, rows = rows, _filtered(rows, chosen)
    tab = next((tab for tab in TABS if tab.name == request.GET.get("status")), PENDING)
    own = _own(user, chosen["whose"])
    # Count plain rows, and annotate only the page that is shown: a long queue opens as fast as a short one.
    ordered = tab.rows(rows).filter(own.get(tab.name, Q())).order_by(*tab.order)
    if chosen["q"]:
        ordered = search.searched(ordered, chosen["q"], sees_sessions=user.has_perm("orchestration.view_session"))
    paginator = BoundedPaginator(ordered, PER_PAGE)
    page = paginator.get_page(request.GET.get("page"))
    # A join with the projects could make SQLite read and sort the rows of each project.
    plain = ordered.select_related(None).prefetch_related("project")
    shown = with_session_name(with_claims(with_waiters(plain)))
    is_open = tab in (PENDING, SNOOZED)
    if is_open:
        shown = cards.with_denial(shown)
    # Only the ids are skipped: PostgreSQL would work out the annotations of each row before the page.
    ids = plain.values_list("pk", flat=True)[max(0, page.start_index() - 1) : page.end_index()]
    page.object_list = shown.filter(pk__in=list(ids))
    numbers = {}
    for other in TABS:
        if other is tab and not chosen["q"]:
            numbers[other.name] = paginator.count
        elif other.name in COUNTED:
            numbers[other.name] = counted(other.rows(rows).filter(own.get(other.name, Q())))
    recent = whole.filter(settled_at__gt=later(-RECENT_SECS)).exclude(decided_via=Via.RULE)
    return {
        "tab": tab,
        "tabs": [
            _link(request, other is tab, status=other.name)
            | {"tab": other, "number": numbers.get(other.name) if other.name in COUNTED else None}
            for other in TABS
        ],
        "page": page,
        "cards": cards.cards(page.object_list, joined=is_open),
        "is_open": is_open,
        "may_decide": bool(user.has_perm(permissions.PERMISSION)),
        "recent": list(recent.order_by("-settled_at", "-id")[:MOST_RECENT]) if is_open else [],
        "chosen": chosen,
        "whose": [
            {"title": title} | _link(request, (chosen["whose"] or "mine") == name, whose=name, set="1")
            for name, title in WHOSE
        ],
        "filtered": any(value for name, value in chosen.items() if name != "whose"),
        "most_found": search.MOST_FOUND,
        "risks": Risk.values,
        "projects": list(projects.visible_to(user).values_list("slug", flat=True)),
        "pending": numbers[PENDING.name],
        "most": MOST_COUNTED,
        "here": request.GET.urlencode(),
    }


def counted(rows: ApprovalQuerySet) -> int:
    """Return the number of rows, at most `MOST_COUNTED`."""
    # An index has the project, and not always the id that Django would select.
    return rows.order_by().values("project")[:MOST_COUNTED].count()


def _chosen(request: HttpRequest) -> dict[str, str]:
    chosen = {name: request.GET.get(name, "").strip() for name in FILTERS}
    if chosen["whose"] not in dict(WHOSE):
        chosen["whose"] = ""
    return chosen


def _filtered(rows: ApprovalQuerySet, chosen: dict[str, str]) -> ApprovalQuerySet:
    session_id = None
    with contextlib.suppress(ValueError):
        session_id = UUID(chosen["session"])
    if (chosen["session"] and not session_id) or not all(map(strict.is_storable, chosen.values())):
        return rows.none()
    columns = {"session": session_id, "tool_name": chosen["tool"], "risk": chosen["risk"]}
    columns["project__slug"] = chosen["project"]
    return rows.filter(**{name: value for name, value in columns.items() if value})


def _own(user: Any, whose: str) -> dict[str, Q]:
    """Return the condition of each tab that depends on the reader.

    A request that is put off leaves its reader's own queue, and no other: under *All* it still stands, as the number of
    the front page says.
    """
    asleep = snoozed_by(user.pk)
    if whose == "all":
        return {SNOOZED.name: Q(asleep)}
    theirs = selectors.for_groups_of(user) if whose == "groups" else selectors.addressed_to(user)
    return {PENDING.name: theirs & ~Q(asleep), SNOOZED.name: Q(asleep)}


def _link(request: HttpRequest, is_current: bool, **chosen: str) -> dict[str, Any]:
    """Return the query of this address with another choice, at its first page."""
    address = request.GET.copy()
    address.pop("page", None)
    for name, value in chosen.items():
        address[name] = value
    return {"current": is_current, "address": address.urlencode()}
