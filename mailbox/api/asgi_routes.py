"""The mailbox calls that run before Django: delivery, which is called all the time, and the long poll."""

from __future__ import annotations

from rest_framework.exceptions import APIException
from starlette.requests import Request
from starlette.routing import Route
from starlette.types import Receive, Scope, Send

from accounts import asgi_calls, credentials
from core.concurrency.batching import Batcher
from core.web import fast_path
from core.web.openapi.routes import Described, described
from core.web.problems import Problem
from mailbox.api import bodies, deliver, long_poll, parameters
from mailbox.api.deliver import Answer, Call
from mailbox.envelope import SentMessage
from mailbox.schemas import MessageAccepted, MessageResults


class Deliver:
    """Deliver one message (201 once it is durable) or many (200, each with its own status)."""

    #: The key is checked before the body: without permission, a caller learns nothing about a body that is too long.
    reads_body = True

    def __init__(self) -> None:
        # Concurrent calls are handled in one batch.
        self._turns: Batcher[Call, Answer] = Batcher(deliver.answer_all)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Read the body, wait for the batch, and send the answer."""
        token = scope.get(fast_path.TOKEN) or credentials.bearer(fast_path.header(scope, b"authorization"))
        keyed = any(name == b"idempotency-key" for name, _ in scope["headers"])
        body: bytes | Exception
        try:
            if keyed or scope["query_string"]:
                asgi_calls.check(Request(scope))
            body = await fast_path.body(scope, receive)
        except (Problem, APIException) as refusal:
            # Reported only after the check of the key.
            body = refusal
        answer = await self._turns.ask(Call(token, scope["path_params"]["address"], body))
        await fast_path.answer(send, answer.status, answer.body)


_deliver = described(
    Described(
        name="mailbox_deliver",
        tag="mailboxes",
        scope=deliver.SCOPE,
        in_path=parameters.IN_PATH,
        body=(SentMessage, bodies.NewMessages),
        answers={201: MessageAccepted, 200: MessageResults},
        refuses={403: ("reserved-address",), 409: ("conflict",)},
    )
)(Deliver())
routes: list[Route] = [Route("/api/v1/mailboxes/{address}/messages", _deliver, methods=["POST"]), *long_poll.routes]
