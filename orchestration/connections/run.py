"""Build the `run` frame for a child, and store the transcript that the child sends back."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec
from django.conf import settings

from core.db.clock import database_now, moment, read_database_clock
from core.limits import LIMITS
from core.web import problems
from ledger import quota
from mailbox import addresses, session_inbox
from orchestration import model_routing
from orchestration.connections.fencing import Claim, fenced_transaction
from orchestration.models import Attempt, TranscriptItem
from orchestration.sessions import history, limits
from wardroom.protocol import ConnectionLimits, Item, Model, Resume, Run, RunLimits, RunSession, Transcript, Welcome

ROLE_CHARACTERS = 40


def welcome(connection: Claim) -> Welcome:
    """Return the `welcome` frame. The child continues from `acked_event_seq`."""
    acked, kept = Attempt.objects.values_list("acked_event_seq", "transcript_next").get(**connection.row())
    return Welcome(
        session_id=str(connection.session_id),
        attempt=connection.attempt,
        acked_event_seq=acked,
        transcript_next=kept,
        limits=ConnectionLimits(max_frame_bytes=LIMITS.max_frame_bytes, max_unacked_events=LIMITS.max_unacked_events),
        ping_secs=LIMITS.ping_secs,
        server_time=moment(read_database_clock()),
    )


def run(connection: Claim) -> Run:
    """Return the `run` frame with everything that this attempt needs to do the work."""
    attempt = Attempt.objects.select_related("session").get(**connection.row())
    session = attempt.session
    options: dict[str, Any] = session.options
    model = model_routing.resolve(attempt)
    own = limits.limits(session.metadata)
    history_url = f"{settings.WARDROOM_URL}/api/v1/sessions/{session.pk}/history"
    messages, rest = history.page(session, LIMITS.run_history_bytes)
    return Run(
        assignment=session.assignment,
        attempt=connection.attempt,
        session=RunSession(
            session_id=str(session.pk),
            root_session_id=str(session.root),
            depth=session.depth,
            parent_session_id=str(session.parent_id) if session.parent_id else None,
        ),
        role=session.role or None,
        model=Model(**model) if model else None,
        reasoning_effort=options.get("reasoning_effort"),
        disabled_tools=list(options.get("disabled_tools") or []),
        messages=messages,
        history_url=None if rest is None else f"{history_url}?cursor={rest}",
        resume=Resume(**attempt.resume) if attempt.resume else None,
        limits=RunLimits(max_total_secs=own.max_total_secs, max_idle_secs=own.max_idle_secs),
        may_run_unasked=session.may_run_unasked,
    )


def acknowledge(connection: Claim) -> None:
    """Record that the child has the run. It is not sent again unless the child asks for it."""
    with fenced_transaction(connection):
        Attempt.objects.filter(**connection.row(), run_acked_at=None).update(run_acked_at=database_now())


def keep_transcript(connection: Claim, frame: Transcript) -> int:
    """Store a part of the transcript. Return the position up to which all of it is stored."""
    with fenced_transaction(connection):
        return append(connection, frame.first, frame.items)


def append(connection: Claim, first: int | None, items: Sequence[Item]) -> int:
    """Append the items from position `first` (None: after the last stored one). Call it inside `fenced_transaction`.

    Items that are stored already were sent again and are skipped. A part that begins beyond them would leave a hole,
    and is refused. An item with the id of a message to this session admits that message.
    """
    kept = int(Attempt.objects.values_list("transcript_next", flat=True).get(**connection.row()))
    first = kept if first is None else first
    if first > kept:
        raise problems.conflict(f"The transcript is stored up to {kept}; a part from {first} leaves a gap.")
    fresh = items[kept - first :]
    for place, item in enumerate(fresh, kept - first):
        if len(item.role) > ROLE_CHARACTERS:
            name, why = "role", f"an item's role has at most {ROLE_CHARACTERS} characters"
        elif item.content is None:
            name, why = "content", "an item needs content; it may be empty text, but not null"
        else:
            continue
        field = f"items[{place}].{name}"
        raise problems.invalid([{"field": field, "detail": why}], f"{field}: {why}")
    if fresh:
        quota.keep(connection.session_id, *(item.content for item in fresh), rows=len(fresh))
    TranscriptItem.objects.bulk_create(
        TranscriptItem(
            session_id=connection.session_id,
            attempt=connection.attempt,
            position=position,
            role=item.role,
            content=item.content,
            size=len(msgspec.json.encode(item.content)),
            item_id=item.id or "",
        )
        for position, item in enumerate(fresh, kept)
    )
    Attempt.objects.filter(**connection.row()).update(transcript_next=kept + len(fresh))
    if marked := [item.id for item in fresh if item.id]:
        # The history decides, not the report of it, which may be lost with its connection or its process.
        address = addresses.session_address(connection.session_id)
        session_inbox.admit(connection.project_id, address, marked, connection.attempt)
    return kept + len(fresh)
