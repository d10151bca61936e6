"""The template context of a session's page, read in a few queries."""

from __future__ import annotations

import uuid
from typing import Any

from django.db.models import Case, F, When
from django.http import HttpRequest
from django.utils.safestring import SafeString

from approvals.models import Approval
from approvals.states import Status as Answer
from core.adminsite.display import badge
from core.adminsite.model_admins import may
from core.db.fields import JSONText
from core.display.redaction import event_copy, redacted
from core.display.text import shortened
from ledger.models import Event
from mailbox import addresses, questions
from mailbox.models import Message
from orchestration import model_routing
from orchestration.models import Attempt, Session
from orchestration.places import turns
from orchestration.sessions import limits, schemas, watchdog
from orchestration.states import Status
from wardroom.children import steps

SHOWN_BYTES = 32 * 1024
EVENTS, MESSAGES, APPROVALS, ATTEMPTS, TREE, TOPICS = 60, 30, 30, 60, 200, 40

TONES = {
    Status.QUEUED: "wait",
    Status.STARTING: "wait",
    Status.RUNNING: "busy",
    Status.SUSPENDED: "wait",
    Status.COMPLETED: "good",
    Status.ERROR: "bad",
    Status.TIMEOUT: "bad",
    Status.CANCELLED: "",
    Status.SKIPPED: "",
}
ANSWER_TONES = {Answer.PENDING: "wait", Answer.APPROVED: "good", Answer.DENIED: "bad"}


def label(session: Session, limit: int = 60) -> str:
    """Return a short name of the session: its title, its role, or the first words of its assignment."""
    begins = next((line for line in steps.lines(session.assignment) if line.strip(" \t#")), "").strip(" \t#")
    return shortened(redacted(session.title or session.role or begins or str(session.pk)), limit)


def connection_badge(session: Any) -> SafeString | str:
    """Return the badge `live` or `lost`, or nothing for a session that does not run."""
    if session.live:
        return badge("live", "good")
    return badge("lost", "bad") if session.status == Status.RUNNING else ""


def context(request: HttpRequest, session: Any) -> dict[str, Any]:
    """Return the page's context for this user. Rows of other apps need their own view permissions."""
    newest = Attempt.objects.filter(session=session).select_related("web_process").order_by("-number")
    attempts = list(newest[: ATTEMPTS + 1])
    current = next((attempt for attempt in attempts if attempt.number == session.attempt), None)
    tree, is_cut = _tree(session)
    # The payload of a large event is None: its own page shows it.
    small = Case(When(size__lte=SHOWN_BYTES, then=F("payload")), default=None, output_field=JSONText())
    of_session = Event.objects.filter(project=session.project_id, session=session.pk).defer("payload")
    events: list[Any] = list(of_session.annotate(shown=small).order_by("-cursor")[:EVENTS])
    for event in events:
        event.payload = event_copy(event.shown)
    approvals: list[tuple[Approval, str]] | None = None
    if may(request, "view", Approval):
        asked = Approval.objects.filter(project=session.project_id, session=session.pk)
        latest = asked.order_by("-requested_at", "-id")[:APPROVALS]
        approvals = [(approval, ANSWER_TONES.get(Answer(approval.status), "")) for approval in latest]
    return {
        "session": session,
        "position": turns.position_text(session),
        "label": label(session),
        "tone": TONES[session.status],
        "connection": connection_badge(session),
        "attempts": [(attempt, TONES[Status(attempt.status)]) for attempt in attempts[:ATTEMPTS]],
        "cut": {"attempts": len(attempts) > ATTEMPTS, "tree": is_cut},
        "most": {"attempts": ATTEMPTS, "approvals": APPROVALS, "messages": MESSAGES},
        "current": current,
        "model": model_routing.chosen(session.options, session.metadata),
        "clocks": watchdog.clocks(session, current) if current else None,
        "ignored_limits": limits.ignored(session.metadata),
        "cancellation": session.cancellations.filter(finished_at=None).order_by("requested_at").first(),
        "tree": tree,
        "topics": " ".join(f"session:{row['session'].pk}" for row in tree[:TOPICS]),
        "events": events,
        "approvals": approvals,
        "received": _received(session) if may(request, "view", Message) else None,
    }


def _tree(session: Session) -> tuple[list[dict[str, Any]], bool]:
    """Return the tree, depth first, as `{session, indent, here, tone, connection, label}`, and whether it is cut.

    For a large tree, return only the session with its ancestors and its first children.
    """
    sessions = schemas.with_liveness(Session.objects.filter(project=session.project_id)).order_by("created_at", "pk")
    rows: list[Any] = list(sessions.filter(root=session.root)[: TREE + 1])
    is_cut = len(rows) > TREE
    if is_cut:
        near, ancestor = [session.pk], session.parent
        while ancestor is not None:
            near.append(ancestor.pk)
            ancestor = ancestor.parent
        rows = [*sessions.filter(pk__in=near).order_by("depth"), *sessions.filter(parent=session.pk)[:TREE]]
    below: dict[uuid.UUID | None, list[Any]] = {}
    for row in rows:
        below.setdefault(row.parent_id, []).append(row)
    shown: list[dict[str, Any]] = []
    waiting = list(reversed(below.get(None, [])))
    while waiting:
        row = waiting.pop()
        shown.append(
            {
                "session": row,
                "indent": min(row.depth, 8),
                "here": row.pk == session.pk,
                "tone": TONES[row.status],
                "connection": connection_badge(row),
                "label": label(row),
            }
        )
        waiting.extend(reversed(below.get(row.pk, [])))
    return shown, is_cut


def _received(session: Session) -> list[tuple[Message, int | None]]:
    """Return the newest messages to the session with their numbers. Each ask is followed by its REST answer.

    Such an answer is in no mailbox of a session and has no number.
    """
    queryset = Message.objects.filter(project=session.project_id, address__name=session.address)
    newest = list(queryset.order_by("-seq")[:MESSAGES])
    asks = {
        questions.answer_id(session.project_id, each.message_id): each for each in newest if each.message_kind == "ask"
    }
    found = Message.objects.filter(
        project=session.project_id, address__name=addresses.ANSWERS, message_id__in=list(asks)
    )
    answers = {asks[answer.message_id].pk: answer for answer in found}
    shown: list[tuple[Message, int | None]] = []
    for each in newest:
        answer = answers.get(each.pk)
        shown += [(each, each.seq)] + ([(answer, None)] if answer else [])
    return shown
