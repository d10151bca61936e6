"""`GET mailboxes/{address}/asks/{ask_id}`, answered before Django: waiting costs no thread."""

from __future__ import annotations

from uuid import UUID

from starlette.requests import Request
from starlette.routing import Route

from accounts import asgi_calls, permissions
from accounts.authentication import of_asgi_request
from core.concurrency.threadpool import run_in_threadpool
from core.web import problems
from core.web.openapi.routes import Described, described
from core.web.renderers import StructResponse
from ledger import long_poll
from mailbox import addresses, questions, schemas
from mailbox.api import parameters

SCOPE = "mailboxes:read"


@described(
    Described(
        name="mailbox_asked",
        tag="mailboxes",
        method="GET",
        scope=SCOPE,
        in_path=parameters.IN_PATH,
        query=[parameters.TIMEOUT],
        answers={200: schemas.MailboxAsked},
    )
)
async def answer_status(request: Request) -> StructResponse:
    """Return the answer to an ask that came from no mailbox, or `pending`. The answer is kept for seven days."""
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
