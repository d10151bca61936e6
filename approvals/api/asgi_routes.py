"""The long-poll call of approvals, answered before Django: a waiting call holds no thread."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any
from uuid import UUID

from starlette.requests import Request
from starlette.routing import Route

from accounts import asgi_calls
from accounts.actors import Actor
from accounts.authentication import of_asgi_request
from accounts.models import Credential
from accounts.permissions import allow
from approvals import schemas, selectors, waiting
from approvals.models import Approval
from approvals.states import Status
from core.concurrency.threadpool import run_in_threadpool
from core.limits import LIMITS
from core.web.renderers import StructResponse
from ledger import hub, long_poll, shutdown


async def wait(request: Request) -> StructResponse:
    """Hold the call until the approval is settled or `timeout` seconds pass. A timeout returns `pending`: no answer."""
    credential = await of_asgi_request(request)
    may_look(credential)
    asgi_calls.check(request, long_poll.PARAMETERS)
    secs = patience(request.query_params)
    if request.method == "HEAD":
        # A HEAD does not wait and delivers no answer.
        approval_id, actor = request.path_params["approval_id"], Actor.of_credential(credential)
        found = await run_in_threadpool(selectors.find, credential.project_id, approval_id, actor)
        return StructResponse(schemas.waited(found))
    with long_poll.place(credential, secs):
        approval = await _wait_for_answer(credential, request.path_params["approval_id"], secs)
    return StructResponse(schemas.waited(approval))


def may_look(credential: Credential, *, child: bool = True) -> None:
    """Allow a child's token, a key that may ask, and a key that may read or answer.

    A key that may only ask finds only its own requests.
    """
    held = [scope for scope in ("approvals:ask", "approvals:decide") if scope in credential.scopes]
    allow(credential, held[0] if held else "approvals:read", child=child)


def patience(params: Mapping[str, Any]) -> float:
    """Return the seconds of `?timeout=`, at most `held_call_secs`. That is also the default."""
    longest = float(LIMITS.held_call_secs)
    return min(long_poll.patience(params, longest), longest)


async def _wait_for_answer(credential: Credential, approval_id: UUID, secs: float) -> Approval:
    actor, project_id = Actor.of_credential(credential), credential.project_id
    until = time.monotonic() + secs
    shutdown.watch()
    # Subscribe first, then read, then wait: an answer between two of these steps is not missed.
    async with hub.get().listen(f"approval:{approval_id}") as subscription:
        approval = await run_in_threadpool(waiting.look, project_id, approval_id, actor)
        if approval.status != Status.PENDING or secs <= 0:
            return approval
        lease = await run_in_threadpool(waiting.begin, approval_id)
        try:
            # At shutdown, end the wait: pending is a true answer, and the caller asks again.
            while approval.status == Status.PENDING and not shutdown.asked():
                left = until - time.monotonic()
                if left <= 0:
                    break
                await subscription.wait(timeout=min(left, LIMITS.hub_poll_secs))
                approval = await run_in_threadpool(waiting.look, project_id, approval_id, actor)
            return approval
        finally:
            await run_in_threadpool(waiting.end, lease)


routes: list[Route] = [
    Route("/api/v1/approvals/{approval_id:uuid}/wait", wait, methods=["GET"]),
]
