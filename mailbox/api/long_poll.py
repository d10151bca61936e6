"""`GET mailboxes/{address}/asks/{ask_id}`, answered before Django: waiting costs no thread."""

from __future__ import annotations

from uuid import UUID

from starlette.requests import Request
from starlette.routing import Route

from accounts import asgi_calls, permissions
from accounts.authentication import of_asgi_request
from core.concurrency.threadpool import run_in_threadpool
from core.web import problems
from core.web.renderers import StructResponse
from ledger import long_poll
from mailbox import addresses, questions, schemas

SCOPE = "mailboxes:read"


async def answer_status(request: Request) -> StructResponse:
    """Return the answer to an earlier ask, or `pending`. With `?timeout=`, wait for the answer."""
    credential = await of_asgi_request(request)
    permissions.allow(credential, SCOPE)
    asgi_calls.check(request, long_poll.PARAMETERS)
    secs = long_poll.patience(request.query_params)
    secs = 0 if request.method == "HEAD" else secs
    project_id, ask_id = credential.project_id, request.path_params["ask_id"]
    with long_poll.place(credential):
        await run_in_threadpool(check_ask, project_id, request.path_params["address"], ask_id)
        reply = await long_poll.until(
            lambda reply: reply is not None,
            lambda: questions.answer_to(project_id, ask_id),
            (questions.topic(project_id, ask_id),),
            secs,
        )
    return StructResponse(schemas.asked(ask_id, reply))


def check_ask(project_id: UUID, address: str, ask_id: str) -> None:
    """Raise 404 if the id is no ask at this address, or if the ask is answered into its sender's own mailbox."""
    ask = questions.find(project_id, addresses.check(address), ask_id)
    if ask is None or questions.reply_address(ask) != addresses.ANSWERS:
        raise problems.not_found()


routes: list[Route] = [Route("/api/v1/mailboxes/{address}/asks/{ask_id:path}", answer_status, methods=["GET"])]
