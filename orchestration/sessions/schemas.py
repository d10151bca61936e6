"""The public JSON bodies of sessions and attempts, and their OpenAPI schemas."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from django.db.models import Exists, F, OuterRef, QuerySet
from rest_framework import serializers

from core.db import clock
from core.web.openapi import values
from core.web.openapi.values import Shaped
from orchestration import presence
from orchestration.models import Attempt, Session
from orchestration.states import Runner, Status


def with_liveness(sessions: QuerySet[Session], *, now: datetime | None = None) -> QuerySet[Any]:
    """Annotate sessions with `live`: whether the current attempt has a live connection."""
    current = Attempt.objects.filter(presence.is_live(now=now), session=OuterRef("pk"), number=OuterRef("attempt"))
    return sessions.annotate(live=Exists(current))


def session(row: Any) -> dict[str, Any]:
    """Return the body of a session from `with_liveness`. `lost` means: running without a live connection."""
    return {
        "id": str(row.pk),
        "project": str(row.project_id),
        "parent": str(row.parent_id) if row.parent_id else None,
        "root": str(row.root),
        "depth": row.depth,
        "role": row.role or None,
        "title": row.title,
        "assignment": row.assignment,
        "runner": row.runner,
        "status": row.status,
        "lost": row.status == Status.RUNNING and not row.live,
        "live": row.live,
        "attempt": row.attempt,
        "result": row.result,
        "error": row.error,
        "created_at": moment(row.created_at),
        "started_at": moment(row.started_at),
        "last_event_at": moment(row.last_event_at),
        "finished_at": moment(row.finished_at),
        "last_tool": row.last_tool or None,
        "rounds": row.rounds,
        "waiting_for": row.waiting_for,
        "wait_until": moment(row.wait_until),
        "cancel_requested_at": moment(row.cancel_requested_at),
        "cancel_reason": row.cancel_reason or None,
        "retries_left": row.retries_left,
        "options": row.options,
        "metadata": row.metadata,
        "created_by": row.created_by,
    }


def attempt(row: Attempt) -> dict[str, Any]:
    """Return the body of an attempt, with its supervisor's reports of the process."""
    return {
        "number": row.number,
        "status": row.status,
        "reason": row.reason or None,
        "created_at": moment(row.created_at),
        "launched_at": moment(row.launched_at),
        "relaunched": row.relaunched,
        "running_at": moment(row.running_at),
        "ended_at": moment(row.ended_at),
        "last_event_at": moment(row.last_event_at),
        "acked_event_seq": row.acked_event_seq,
        "connection_since": moment(row.connection_since),
        "connection_lost_at": moment(row.connection_lost_at),
        "host": row.host or None,
        "pid": row.pid,
        "supervisor_pid": row.supervisor_pid,
        "supervisor_seen_at": moment(row.supervisor_seen_at),
        "kill_requested_at": moment(row.kill_requested_at),
        "exit_status": row.exit_status,
        "exit_signal": row.exit_signal,
        "stderr_tail": row.stderr_tail or None,
        "exited_at": moment(row.exited_at),
    }


def current_attempts(sessions: QuerySet[Session]) -> QuerySet[Attempt]:
    """Return the current attempt of each session."""
    return Attempt.objects.filter(session__in=sessions, number=F("session__attempt"))


def moment(at: datetime | None) -> str | None:
    """Return a time as text, or None."""
    return None if at is None else clock.moment(at)


class SessionShape(serializers.Serializer[Any]):
    """A session."""

    id = serializers.UUIDField()
    project = serializers.UUIDField()
    parent = serializers.UUIDField(allow_null=True)  # type: ignore[assignment]
    root = serializers.UUIDField()  # type: ignore[assignment]
    depth = serializers.IntegerField()
    role = serializers.CharField(allow_null=True)
    title = serializers.CharField()
    assignment = serializers.CharField()
    runner = serializers.ChoiceField(choices=Runner.choices)
    status = serializers.ChoiceField(choices=Status.choices)
    lost = serializers.BooleanField(help_text="Running without a live connection.")
    live = serializers.BooleanField()
    attempt = serializers.IntegerField()
    result = serializers.CharField(allow_null=True)
    error = serializers.CharField(allow_null=True)
    created_at = serializers.DateTimeField()
    started_at = serializers.DateTimeField(allow_null=True)
    last_event_at = serializers.DateTimeField(allow_null=True)
    finished_at = serializers.DateTimeField(allow_null=True)
    last_tool = serializers.CharField(allow_null=True)
    rounds = serializers.IntegerField()
    waiting_for = serializers.DictField(allow_null=True)
    wait_until = serializers.DateTimeField(allow_null=True)
    cancel_requested_at = serializers.DateTimeField(allow_null=True)
    cancel_reason = serializers.CharField(allow_null=True)
    retries_left = serializers.IntegerField()
    options = serializers.DictField()
    metadata = serializers.DictField()
    created_by = serializers.CharField()


class SessionTreeShape(SessionShape):
    """A session and the sessions below it."""

    children = Shaped({"type": "array", "items": values.reference("SessionTreeShape")}, help_text="Oldest first.")
    truncated = serializers.BooleanField(help_text="Some of its children are missing here: page through them.")


class ChildAccess(serializers.Serializer[Any]):
    """The token and the address for an external child. The token is shown only once."""

    token = serializers.CharField(allow_null=True)
    websocket_url = serializers.CharField()


class SpawnedShape(SessionShape):
    """A new session. For `external`, it includes the access of its child."""

    child = ChildAccess(required=False)


class TokenShape(ChildAccess):
    """A fresh token of the current attempt."""

    attempt = serializers.IntegerField()


class SentShape(serializers.Serializer[Any]):
    """The outcome of a message."""

    id = serializers.CharField()
    outcome = serializers.ChoiceField(choices=["delivered_live", "queued", "started", "pending"])


class AskShape(serializers.Serializer[Any]):
    """The state of an ask. The last three fields are present only with an answer."""

    status = serializers.ChoiceField(
        choices=["answered", "pending", "ended"], help_text="`ended`: the session is over."
    )
    ask_id = serializers.CharField()
    session_status = serializers.ChoiceField(choices=Status.choices)
    answer = serializers.JSONField(required=False)
    answered_at = serializers.DateTimeField(required=False)


AskShape._declared_fields["from"] = serializers.DictField(required=False, help_text="`{session_id, role}`")


class AttemptShape(serializers.Serializer[Any]):
    """One attempt to run a session."""

    number = serializers.IntegerField()
    status = serializers.ChoiceField(choices=Status.choices)
    reason = serializers.CharField(allow_null=True)
    created_at = serializers.DateTimeField()
    launched_at = serializers.DateTimeField(allow_null=True)
    relaunched = serializers.BooleanField(help_text="It replaces an attempt that sent no frame.")
    running_at = serializers.DateTimeField(allow_null=True)
    ended_at = serializers.DateTimeField(allow_null=True)
    last_event_at = serializers.DateTimeField(allow_null=True)
    acked_event_seq = serializers.IntegerField()
    connection_since = serializers.DateTimeField(allow_null=True)
    connection_lost_at = serializers.DateTimeField(allow_null=True)
    host = serializers.CharField(allow_null=True)
    pid = serializers.IntegerField(allow_null=True)
    supervisor_pid = serializers.IntegerField(allow_null=True)
    supervisor_seen_at = serializers.DateTimeField(allow_null=True)
    kill_requested_at = serializers.DateTimeField(
        allow_null=True, help_text="The time from which its supervisor must kill it."
    )
    exit_status = serializers.IntegerField(allow_null=True)
    exit_signal = serializers.IntegerField(allow_null=True)
    stderr_tail = serializers.CharField(allow_null=True)
    exited_at = serializers.DateTimeField(allow_null=True)
