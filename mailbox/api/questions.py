"""The REST calls that answer an ask at a plain address, and that return the answer to an ask."""

from __future__ import annotations

from typing import ClassVar

from drf_spectacular.utils import extend_schema
from rest_framework.request import Request
from rest_framework.response import Response

from accounts.permissions import ScopeMap
from accounts.scopes import DRAIN
from accounts.views import ProjectView
from core.web import problems, request_body
from ledger import long_poll as ledger_long_poll
from mailbox import claims, questions, schemas
from mailbox.api import bodies, long_poll, parameters


class Reply(ProjectView):
    scopes: ClassVar[ScopeMap] = {"POST": "mailboxes:write"}
    in_path: ClassVar = parameters.IN_PATH
    refuses: ClassVar = {"POST": {403: ("reserved-address",), 409: ("already-answered", "conflict")}}
    owner_needs: ClassVar[ScopeMap] = {"POST": DRAIN}

    @extend_schema(
        operation_id="mailbox_reply",
        request=bodies.MailboxReply,
        responses={201: schemas.MailboxReplied},
    )
    def post(self, request: Request, address: str) -> Response:
        """Answer an ask that was drained here, once. The answer goes to the address of the asker."""
        claims.plain(address)
        body = request_body.convert(request.data, bodies.MailboxReply)
        ask = questions.find(self.project.pk, address, body.ask_id)
        if ask is None:
            raise problems.not_found()
        replied = questions.answer(ask, {"answer": body.answer})
        return Response(schemas.MailboxReplied(replied.id, body.ask_id), status=201)


class OneAsk(ProjectView):
    """For the OpenAPI document, and for a server without the ASGI routes: there it answers at once."""

    scopes: ClassVar[ScopeMap] = {"GET": long_poll.SCOPE}
    in_path: ClassVar = parameters.IN_PATH
    query: ClassVar = {"GET": ledger_long_poll.PARAMETERS}

    @extend_schema(
        operation_id="mailbox_asked",
        parameters=[parameters.TIMEOUT],
        responses={200: schemas.MailboxAsked},
    )
    def get(self, request: Request, address: str, ask_id: str) -> Response:
        """Return the answer to an ask that came from no mailbox, or `pending`. The answer is kept for seven days."""
        ledger_long_poll.patience(request.query_params)
        long_poll.check_ask(self.project.pk, address, ask_id)
        return Response(schemas.asked(ask_id, questions.answer_to(self.project.pk, ask_id)))
