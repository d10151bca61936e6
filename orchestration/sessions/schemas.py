"""The public JSON bodies of sessions and attempts, as REST shows them."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any

import msgspec
from django.db.models import Exists, OuterRef, QuerySet
from msgspec import UNSET, Struct, UnsetType

from core.db import clock
from core.display.redaction import redacted
from core.web.fields import Id, Moment, one_of, says
from mailbox.schemas import MessageFrom
from orchestration import presence
from orchestration.models import Attempt, Session
from orchestration.sessions import limits
from orchestration.states import Status


def with_liveness(sessions: QuerySet[Session]) -> QuerySet[Any]:
    """Annotate sessions with `live`: whether the current attempt has a live connection."""
    current = Attempt.objects.filter(presence.is_live(), session=OuterRef("pk"), number=OuterRef("attempt"))
    return sessions.annotate(live=Exists(current))


class SessionWarning(Struct, frozen=True):
    """An entry that was accepted and has no effect."""

    field: str
    detail: str


class SessionShape(Struct, kw_only=True):
    """A session."""

    id: Id
    project: Id
    parent: Id | None
    root: Id
    depth: int
    role: str | None
    title: str
    assignment: str
    runner: Annotated[str, says("`process`, `external`, or a runner of an installed package.")]
    status: Annotated[str, one_of(Status.values)]
    lost: Annotated[bool, says("Running without a live connection.")]
    live: bool
    attempt: int
    result: str | None
    error: str | None
    created_at: Moment
    started_at: Moment | None
    last_event_at: Moment | None
    finished_at: Moment | None
    last_tool: str | None
    rounds: int
    waiting_for: dict[str, Any] | None
    wait_until: Moment | None
    cancel_requested_at: Moment | None
    cancel_reason: str | None
    retries_left: int
    options: dict[str, Any]
    metadata: dict[str, Any]
    warnings: Annotated[list[SessionWarning], says("Watchdog limits of the metadata that are ignored; at most 10.")]
    created_by: str


class SessionPage(Struct, frozen=True):
    results: list[SessionShape]
    next: str | None


class SessionTreeShape(SessionShape, kw_only=True):
    """A session and the sessions below it."""

    children: Annotated[list[SessionTreeShape], says("Oldest first.")]
    truncated: Annotated[bool, says("Some of its children are missing here: page through them.")]


class ChildAccess(Struct, frozen=True):
    """The token and the address for an external child. The token is shown only once."""

    token: str | None
    websocket_url: str


class SpawnedShape(SessionShape, kw_only=True):
    """A new session. For `external`, it includes the access of its child."""

    child: ChildAccess | UnsetType = UNSET


class TokenShape(ChildAccess, frozen=True):
    """A fresh token of the current attempt."""

    attempt: int


class SentShape(Struct, frozen=True):
    """The outcome of a message."""

    id: str
    outcome: Annotated[str, one_of(["delivered_live", "queued", "started", "pending"])]


class AskShape(Struct, frozen=True, kw_only=True):
    """The state of an ask. The last three fields are present only with an answer."""

    status: Annotated[str, one_of(["answered", "pending", "ended"], says="`ended`: the session is over.")]
    ask_id: str
    session_status: Annotated[str, one_of(Status.values)]
    answer: Any | UnsetType = UNSET
    answered_at: Moment | UnsetType = UNSET
    from_: Annotated[MessageFrom, says("`{session_id, role}`")] | UnsetType = msgspec.field(name="from", default=UNSET)


class AttemptShape(Struct, frozen=True, kw_only=True):
    """One attempt to run a session."""

    number: int
    status: Annotated[str, one_of(Status.values)]
    reason: str | None
    created_at: Moment
    launched_at: Moment | None
    relaunched: Annotated[bool, says("It replaces an attempt that sent no frame.")]
    running_at: Moment | None
    ended_at: Moment | None
    last_event_at: Moment | None
    acked_event_seq: int
    connection_since: Moment | None
    connection_lost_at: Moment | None
    host: str | None
    pid: int | None
    supervisor_pid: int | None
    supervisor_seen_at: Moment | None
    kill_requested_at: Annotated[Moment | None, says("The time from which its supervisor must kill it.")]
    exit_status: int | None
    exit_signal: int | None
    stderr_tail: str | None
    exited_at: Moment | None


class Attempts(Struct, frozen=True):
    results: list[AttemptShape]
    next: str | None


def session(row: Any) -> SessionShape:
    """Return the body of a session from `with_liveness`. `lost` means: running without a live connection."""
    return SessionShape(
        id=str(row.pk),
        project=str(row.project_id),
        parent=str(row.parent_id) if row.parent_id else None,
        root=str(row.root),
        depth=row.depth,
        role=row.role or None,
        title=row.title,
        assignment=row.assignment,
        runner=row.runner,
        status=row.status,
        lost=row.status == Status.RUNNING and not row.live,
        live=row.live,
        attempt=row.attempt,
        result=row.result,
        error=row.error,
        created_at=clock.moment(row.created_at),
        started_at=moment(row.started_at),
        last_event_at=moment(row.last_event_at),
        finished_at=moment(row.finished_at),
        last_tool=row.last_tool or None,
        rounds=row.rounds,
        waiting_for=row.waiting_for,
        wait_until=moment(row.wait_until),
        cancel_requested_at=moment(row.cancel_requested_at),
        cancel_reason=row.cancel_reason or None,
        retries_left=row.retries_left,
        options=row.options,
        metadata=row.metadata,
        warnings=[SessionWarning(**each) for each in limits.ignored(row.metadata)],
        created_by=row.created_by,
    )


def attempt(row: Attempt) -> AttemptShape:
    """Return the body of an attempt, with its supervisor's reports of the process."""
    return AttemptShape(
        number=row.number,
        status=row.status,
        reason=row.reason or None,
        created_at=clock.moment(row.created_at),
        launched_at=moment(row.launched_at),
        relaunched=row.relaunched,
        running_at=moment(row.running_at),
        ended_at=moment(row.ended_at),
        last_event_at=moment(row.last_event_at),
        acked_event_seq=row.acked_event_seq,
        connection_since=moment(row.connection_since),
        connection_lost_at=moment(row.connection_lost_at),
        host=row.host or None,
        pid=row.pid,
        supervisor_pid=row.supervisor_pid,
        supervisor_seen_at=moment(row.supervisor_seen_at),
        kill_requested_at=moment(row.kill_requested_at),
        exit_status=row.exit_status,
        exit_signal=row.exit_signal,
        stderr_tail=redacted(row.stderr_tail) or None,
        exited_at=moment(row.exited_at),
    )


def moment(at: datetime | None) -> str | None:
    """Return a time as text, or None."""
    return None if at is None else clock.moment(at)
