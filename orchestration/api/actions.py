"""The calls that act on a session: token, cancel, retry, wait, messages."""

from __future__ import annotations

from typing import Any, ClassVar
from uuid import UUID

from drf_spectacular.utils import extend_schema
from msgspec import structs
from rest_framework.request import Request
from rest_framework.response import Response

from accounts import permissions
from accounts.idempotency import idempotent
from accounts.permissions import Methods, ScopeMap
from accounts.scopes import STOP
from accounts.views import ProjectView
from core.web import request_body
from mailbox import envelope
from orchestration.api import bodies, replays
from orchestration.models import Session
from orchestration.sessions import access, cancel, lifecycle, messages, schemas, spawn
from orchestration.sessions.waits import Wait


class SessionAction(ProjectView):
    """The base of the calls that change a session."""

    scopes: ClassVar[ScopeMap] = {"POST": "sessions:write"}

    def shown(self, session: Session) -> schemas.SessionShape:
        """Return the session as it is after the operation."""
        return schemas.session(schemas.with_liveness(Session.objects.all()).get(pk=session.pk))


def _still(view: ProjectView, answer: Any, session_id: UUID) -> None:
    replays.acted_on(view.credential, session_id)


class Token(SessionAction):
    """A fresh token for an external session's current attempt."""

    refuses: ClassVar = {"POST": {409: ("conflict", "not-running")}}
    secret: ClassVar[Methods] = ("POST",)

    @extend_schema(
        operation_id="sessions_token",
        request=None,
        responses={201: schemas.TokenShape},
    )
    def post(self, request: Request, session_id: UUID) -> Response:
        """Mint a fresh token for the current attempt. The former token ends."""
        fresh = spawn.fresh_token(self.project, session_id, self.actor)
        address = spawn.websocket_url(session_id)
        return Response(schemas.TokenShape(fresh.child_token, address, fresh.attempt), status=201)


class Cancel(SessionAction):
    """Stop a session and the sessions below it."""

    child_may: ClassVar[Methods] = ("POST",)
    refuses: ClassVar = {"POST": {409: ("not-running",)}}
    owner_needs: ClassVar[ScopeMap] = {"POST": STOP}

    @extend_schema(
        operation_id="sessions_cancel",
        request=bodies.CancelBody,
        responses={200: schemas.SessionShape},
    )
    @idempotent(_still)
    def post(self, request: Request, session_id: UUID) -> Response:
        """Cancel a session. A running attempt gets a grace period to end by itself; an ended session stays as it is."""
        body = request_body.convert(request.data, bodies.CancelBody)
        access.steerable(self.credential, session_id)
        reason = body.reason or f"cancelled by {self.actor.name}"
        session = cancel.cancel(self.project, session_id, reason, self.actor, body.cascade)
        return Response(self.shown(session))


class Retry(SessionAction):
    """Start an ended session again."""

    child_may: ClassVar[Methods] = ("POST",)
    refuses: ClassVar = {"POST": {409: ("conflict", "not-running")}}
    owner_needs: ClassVar[ScopeMap] = {"POST": STOP}

    @extend_schema(
        operation_id="sessions_retry",
        request=None,
        responses={202: schemas.SessionShape},
    )
    @idempotent(_still)
    def post(self, request: Request, session_id: UUID) -> Response:
        """Queue a new attempt with the same assignment."""
        access.steerable(self.credential, session_id)
        session = lifecycle.retry(self.project, session_id, self.actor)
        return Response(self.shown(session), status=202)


class WaitFor(SessionAction):
    """Record the thing that a running attempt waits for."""

    child_may: ClassVar[Methods] = ("POST",)
    refuses: ClassVar = {"POST": {409: ("not-running",)}}

    @extend_schema(
        operation_id="sessions_wait",
        request=bodies.WaitBody,
        responses={200: schemas.SessionShape},
    )
    def post(self, request: Request, session_id: UUID) -> Response:
        """Record the event that the running attempt waits for, and return at once.

        It takes effect when the attempt suspends.
        """
        body = request_body.convert(request.data, bodies.WaitBody)
        access.own(self.credential, session_id)
        return Response(self.shown(lifecycle.wait(self.project, session_id, Wait(**structs.asdict(body)), self.actor)))


class Messages(SessionAction):
    """Send a message to a session."""

    child_may: ClassVar[Methods] = ("POST",)
    refuses: ClassVar = {"POST": {409: ("conflict", "not-running")}}

    @extend_schema(
        operation_id="sessions_message",
        request=bodies.MessageBody,
        responses={202: schemas.SentShape},
    )
    def post(self, request: Request, session_id: UUID) -> Response:
        """Send a message. The outcome says how it will be handled; only its admission proves that the agent read it."""
        body = request_body.convert(request.data, bodies.MessageBody, envelope.INVALID)
        if body.interrupt:
            permissions.owner_must_hold(self.credential, STOP)
        # A session may not interrupt itself: it could restart for ever, because each attempt has its own total time.
        (access.steerable if body.interrupt else access.writable)(self.credential, session_id)
        message = envelope.new_message(body)
        if self.actor.session is not None:
            # A child's token proves the sender; a key may claim any sender.
            message = messages.signed(message, self.actor)
        sent = messages.send(self.project, session_id, message, self.actor, interrupt=body.interrupt)
        return Response(schemas.SentShape(sent.id, sent.outcome), status=202)
