"""The front page of the admin: open work for people, running sessions, and the health of the sweepers."""

from __future__ import annotations

from typing import Any

from django.contrib import admin
from django.db.models import Count, Min, QuerySet, Sum
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.urls import NoReverseMatch, reverse

from accounts import projects
from approvals.models import Approval
from approvals.selectors import never_run, waiter_count
from approvals.states import Outcome
from core.adminsite.model_admins import MOST_COUNTED, opens
from ledger import health
from ledger.models import OutboxEntry
from mailbox.models import Quarantined
from mailbox.states import QuarantineState
from orchestration.adminsite import session_page
from orchestration.models import Cancellation, Place, Session
from orchestration.sessions import schemas
from orchestration.states import Status

SHOWN = 8


def front_view(request: HttpRequest) -> HttpResponse:
    """Render the part of the front page that updates itself."""
    return render(request, "admin/orchestration/front.html", context(request))


def context(request: HttpRequest) -> dict[str, Any]:
    """Return the cards, running sessions and sweepers that this user may see."""
    user: Any = request.user
    visible = projects.ids_visible_to(user)
    sees = {model: opens(request, model) for model in (Approval, Session, Quarantined, OutboxEntry)}
    approvals: Any = Approval.objects.filter(project__in=visible)
    cards: list[dict[str, Any]] = []
    if sees[Approval]:
        cards += _approval_cards(approvals)
    if sees[Quarantined]:
        # Quarantined messages without a known project are shown to superusers only.
        broken = Quarantined.objects.all() if user.is_superuser else Quarantined.objects.filter(project__in=visible)
        waiting = broken.filter(state=QuarantineState.WAITING)
        oldest = waiting.aggregate(oldest=Min("created_at"))["oldest"]
        cards.append(_card("quarantined", waiting.count(), "bad", _url("mailbox_quarantined"), since=oldest))
    running: list[dict[str, Any]] | None = None
    if sees[Session]:
        sessions = Session.objects.filter(project__in=visible)
        cards += _session_cards(sessions, visible)
        live: QuerySet[Any] = schemas.with_liveness(sessions.filter(status=Status.RUNNING))
        running = [
            {"session": row, "label": session_page.label(row), "connection": session_page.connection_badge(row)}
            for row in live.select_related("project").order_by("-last_event_at", "-created_at")[:SHOWN]
        ]
    if sees[OutboxEntry]:
        failing = OutboxEntry.objects.filter(project__in=visible, sent_at=None).exclude(last_error="")
        where = _url("ledger_outboxentry", "?sent_at__isempty=1")
        about = "launches that the broker did not accept, and completion handlers that failed; each is retried"
        cards.append(_card("not delivered yet", failing.count(), "bad", where, about=about))
    sweeps = health.sweeps()
    return {
        "cards": cards,
        "pending": list(approvals.pending().order_by("requested_at", "id")[:SHOWN]) if sees[Approval] else None,
        "running": running,
        "sweeps": sweeps,
        "late": [sweep for sweep in sweeps if sweep["tone"] == "bad"],
    }


def _card(name: str, count: int, tone: str, url: str, **more: Any) -> dict[str, Any]:
    return {"name": name, "count": count, "tone": tone if count else "", "url": url, **more}


def _approval_cards(approvals: Any) -> list[dict[str, Any]]:
    pending = approvals.pending()
    oldest = pending.aggregate(oldest=Min("requested_at"))["oldest"]
    queue, waiting = _url("approvals_approval"), waiter_count(approvals)
    # The same numbers as on the tabs that the cards open.
    return [
        _card(
            "waiting for an answer",
            _bounded(pending),
            "wait",
            f"{queue}?whose=all" if queue else "",
            since=oldest,
            detail="1 caller waits" if waiting == 1 else f"{waiting} callers wait",
            is_main=True,
        ),
        _card(
            "approved, never run",
            _bounded(never_run(approvals)),
            "bad",
            _url("approvals_approval", "?status=never-run"),
            detail="stale, or its attempt is over",
        ),
        _card(
            "unknown outcomes",
            _bounded(approvals.filter(outcome=Outcome.UNKNOWN)),
            "bad",
            _url("approvals_approval", "?status=unknown"),
            detail="nobody knows if these ran",
        ),
    ]


def _bounded(rows: Any) -> int:
    return int(rows.order_by()[:MOST_COUNTED].count())


def _session_cards(sessions: QuerySet[Session], visible: Any) -> list[dict[str, Any]]:
    lost = schemas.with_liveness(sessions).filter(status=Status.RUNNING, live=False)
    here = "orchestration_session"
    in_use = Place.objects.filter(project__in=visible).count()
    cards = [
        _card("lost children", lost.count(), "bad", _url(here, "?state=lost")),
        _card("running", sessions.filter(status=Status.RUNNING).count(), "busy", _url(here, "?state=running")),
        _card(
            "queued or starting",
            sessions.filter(status__in=[Status.QUEUED, Status.STARTING]).count(),
            "wait",
            _url(here, "?state=open"),
            detail="1 place in use" if in_use == 1 else f"{in_use} places in use",
        ),
        _card("suspended", sessions.filter(status=Status.SUSPENDED).count(), "", _url(here, "?state=suspended")),
    ]
    # The progress of the cancels of large trees, if there are any.
    going_on = Cancellation.objects.filter(top__in=sessions.order_by().values("pk"), finished_at=None)
    seen = going_on.aggregate(count=Count("pk"), oldest=Min("requested_at"), told=Sum("told"))
    if seen["count"]:
        detail = f"{seen['told']} sessions told to stop so far"
        cancelling = _url(here, "?state=cancelling")
        cards.append(_card("trees being cancelled", seen["count"], "busy", cancelling, detail=detail))
    return cards


def _url(model: str, query: str = "") -> str:
    try:
        return reverse(f"{admin.site.name}:{model}_changelist") + query
    except NoReverseMatch:
        return ""  # not in this admin: the card still counts
