"""The held and hot calls of mailbox, answered before Django: delivering is called all the time."""

from __future__ import annotations

from rest_framework.exceptions import APIException
from starlette.requests import Request
from starlette.routing import Route
from starlette.types import Receive, Scope, Send

from accounts import asgi_calls, credentials
from core.concurrency.batching import Together
from core.web import fast_path
from core.web.problems import Problem
from mailbox.api import deliver, long_poll
from mailbox.api.deliver import Answer, Call


class Deliver:
    """`POST mailboxes/{address}/messages`, in one turn with whoever else delivers now."""

    #: Who may not deliver learns nothing of a long body: the key is judged before it is looked at.
    reads_body = True

    def __init__(self) -> None:
        self._turns: Together[Call, Answer] = Together(deliver.answer_all)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One call: its body, its turn, its answer."""
        token = credentials.bearer(fast_path.header(scope, b"authorization"))
        body = _refusal(scope) or await _body(scope, receive)
        answer = await self._turns.ask(Call(token, scope["path_params"]["address"], body))
        await fast_path.answer(send, answer.status, answer.body)


def _refusal(scope: Scope) -> Exception | None:
    """What is wrong with the call beside its body: it waits for the key check, as a body's refusal does."""
    keyed = [header for header in scope["headers"] if header[0] == b"idempotency-key"]
    if not keyed and not scope["query_string"]:
        return None
    try:
        asgi_calls.judge(Request(scope))
    except Problem as refusal:
        return refusal
    return None


async def _body(scope: Scope, receive: Receive) -> bytes | Exception:
    try:
        return await fast_path.body(scope, receive)
    except (Problem, APIException) as refusal:
        return refusal


routes: list[Route] = [Route("/api/v1/mailboxes/{address}/messages", Deliver(), methods=["POST"]), *long_poll.routes]
