"""The REST calls that answer an ask at a plain address, and that return the answer to an ask."""

from __future__ import annotations

from typing import ClassVar

from drf_spectacular.utils import extend_schema
from rest_framework.request import Request
from rest_framework.response import Response

from accounts.permissions import ScopeMap
from accounts.scopes import DRAIN
from accounts.views import ProjectView
from core.web import faults, problems
from ledger import long_poll as ledger_long_poll
from mailbox import claims, message_kinds, questions, schemas
from mailbox.api import bodies as api_bodies
from mailbox.api import long_poll, schema


class Reply(ProjectView):
    scopes: ClassVar[ScopeMap] = {"POST": "mailboxes:write"}
    in_path: ClassVar = schema.IN_PATH
    refuses: ClassVar = {"POST": {403: ("reserved-address",), 409: ("already-answered", "conflict")}}
    owner_needs: ClassVar[ScopeMap] = {"POST": DRAIN}

    @extend_schema(
        operation_id="mailbox_reply",
        request=schema.Reply,
        responses={201: schema.Replied},
    )
    def post(self, request: Request, address: str) -> Response:
        """Answer an ask that was drained here, once. The answer goes to the address of the asker."""
        claims.plain(address)
        body = api_bodies.read(api_bodies.Reply, request.data)
        if "answer" not in request.data:
            raise problems.invalid([faults.wrong("answer", None, message_kinds.ANSWER)])
        ask = questions.find(self.project.pk, address, body.ask_id)
        if ask is None:
            raise problems.not_found()
        replied = questions.answer(ask, {"answer": body.answer})
        return Response({"id": replied.id, "ask_id": body.ask_id}, status=201)


class OneAsk(ProjectView):
    """For the OpenAPI document, and for a server without the ASGI routes: there it answers at once."""

    scopes: ClassVar[ScopeMap] = {"GET": long_poll.SCOPE}
    in_path: ClassVar = schema.IN_PATH
    query: ClassVar = {"GET": ledger_long_poll.PARAMETERS}

    @extend_schema(
        operation_id="mailbox_asked",
        parameters=[schema.TIMEOUT],
        responses={200: schema.Asked},
    )
    def get(self, request: Request, address: str, ask_id: str) -> Response:
        """Return the answer to an ask that came from no mailbox, or `pending`. The answer is kept for seven days."""
        ledger_long_poll.patience(request.query_params)
        long_poll.check_ask(self.project.pk, address, ask_id)
        return Response(schemas.asked(ask_id, questions.answer_to(self.project.pk, ask_id)))
