"""Asks in the OpenAPI document. On a server without the ASGI routes an ask is stored and not waited for."""

from __future__ import annotations

from typing import ClassVar
from uuid import UUID

from drf_spectacular.utils import extend_schema
from rest_framework.request import Request
from rest_framework.response import Response

from accounts import idempotency
from accounts.views import ProjectView
from core.web import request_body
from core.web.openapi import values
from core.web.openapi.values import in_query
from ledger import long_poll as ledger_long_poll
from mailbox.envelope import LONGEST_ID
from orchestration.api import bodies, long_poll
from orchestration.sessions import questions, schemas

TIMEOUT = in_query(
    "timeout",
    {"type": "number", "minimum": 0, "maximum": ledger_long_poll.LONGEST_WAIT, "default": 0},
    f"Seconds to wait; no call is held for longer than `held_call_secs`. {ledger_long_poll.BOUND}",
)


class Ask(ProjectView):
    """A question to a session."""

    permission_classes = []
    refuses: ClassVar = {"POST": {409: ("conflict", "not-running")}}

    @extend_schema(
        operation_id="sessions_ask",
        request=bodies.AskBody,
        responses={200: schemas.AskShape},
    )
    @idempotency.keyed
    def post(self, request: Request, session_id: UUID) -> Response:
        """Ask a question and wait for the answer.

        `pending` after `timeout_secs`; `ended` when its session ended without an answer. A question is durable before
        anyone waits. Its answer is kept for seven days: `GET asks/{ask_id}` returns a late one. 409 `not-running`: the
        session is over. The same `Idempotency-Key` is the same question again. A key or child may have 256 waiting
        calls at a web process; one more is a 429 and asks nothing.
        """
        long_poll.may_ask(self.credential)
        body = request_body.convert(request.data, bodies.AskBody)
        key = idempotency.check_key(idempotency.sent_with(request), takes_key=True)
        asked = long_poll.put_question(self.credential, session_id, body, key)
        headers = idempotency.REPLAYED if asked.is_repeated else None
        return Response(questions.shape(questions.current_state(asked)), headers=headers)


class OneAsk(ProjectView):
    """The current state of a question."""

    permission_classes = []
    in_path: ClassVar = {"ask_id": values.text(LONGEST_ID, least=1)}
    query: ClassVar = {"GET": ledger_long_poll.PARAMETERS}

    @extend_schema(
        operation_id="sessions_asked",
        parameters=[TIMEOUT],
        responses={200: schemas.AskShape},
    )
    def get(self, request: Request, session_id: UUID, ask_id: str) -> Response:
        """Return the answer, also a late one, or the current state. 404 for an ask that another session sent."""
        long_poll.may_look(self.credential)
        ledger_long_poll.patience(request.query_params)
        return Response(questions.shape(questions.current_state(questions.find(self.credential, session_id, ask_id))))
