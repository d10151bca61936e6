"""The REST call that answers an ask at a plain address. `long_poll` returns the answer to its asker."""

from __future__ import annotations

from typing import ClassVar

from drf_spectacular.utils import extend_schema
from rest_framework.request import Request
from rest_framework.response import Response

from accounts.permissions import ScopeMap
from accounts.scopes import DRAIN
from accounts.views import ProjectView
from core.web import problems, request_body
from mailbox import claims, questions, schemas
from mailbox.api import bodies, parameters


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
