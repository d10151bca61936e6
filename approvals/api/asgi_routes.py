"""The long-poll call of approvals, answered before Django: a waiting call holds no thread."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from uuid import UUID

from starlette.requests import Request
from starlette.routing import Route

from accounts import asgi_calls
from accounts.actors import Actor
from accounts.authentication import of_asgi_request
from accounts.models import Credential
from accounts.permissions import allow
from approvals import schemas, selectors, waiting
from approvals.api import parameters
from approvals.states import Status
from core.concurrency.threadpool import run_in_threadpool
from core.web import queries
from core.web.openapi.routes import Described, described
from core.web.renderers import StructResponse
from ledger import long_poll


@described(
    Described(
        name="approvals_wait",
        tag="approvals",
        method="GET",
        query=[parameters.TIMEOUT, parameters.VERSION],
        answers={200: schemas.ApprovalWaited},
    )
)
async def wait(request: Request) -> StructResponse:
    """Wait for the answer, at most 25 s. A wait that ends without one says `pending` and `timed_out`."""
    credential = await of_asgi_request(request)
    may_look(credential)
    asgi_calls.check(request, (*long_poll.PARAMETERS, "version"))
    secs = long_poll.patience(request.query_params, usual=None)
    version = queries.whole(request.query_params, "version", least=1, most=parameters.MAX_VERSION)
    # A HEAD does not wait and delivers no answer.
    look, secs = (selectors.find, 0) if request.method == "HEAD" else (waiting.look, secs)
    approval_id: UUID = request.path_params["approval_id"]
    actor = Actor.of_credential(credential)
    with long_poll.place(credential):
        approval = await long_poll.until(
            lambda current: current.status != Status.PENDING or version not in (None, current.version),
            partial(look, credential.project_id, approval_id, actor),
            (f"approval:{approval_id}",),
            secs,
            waiting=partial(_waiter, approval_id),
        )
    return StructResponse(schemas.waited(approval, actor, version))


def may_look(credential: Credential, *, child: bool = True) -> None:
    """Allow a child's token, a key that may ask, and a key that may read or answer.

    A key that may only ask finds only its own requests.
    """
    held = [scope for scope in ("approvals:ask", "approvals:decide") if scope in credential.scopes]
    allow(credential, held[0] if held else "approvals:read", child=child)


@asynccontextmanager
async def _waiter(approval_id: UUID) -> AsyncIterator[None]:
    """Show the caller among the waiters."""
    lease = await run_in_threadpool(waiting.begin, approval_id)
    try:
        yield
    finally:
        await run_in_threadpool(waiting.end, lease)


routes: list[Route] = [
    Route("/api/v1/approvals/{approval_id:uuid}/wait", wait, methods=["GET"]),
]
