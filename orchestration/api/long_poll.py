"""The ASGI routes `POST sessions/{id}/ask` and `GET sessions/{id}/asks/{ask_id}`: a waiting call holds no thread."""

from __future__ import annotations

from functools import partial
from typing import Any
from uuid import UUID

from starlette.requests import Request
from starlette.routing import Route

from accounts import asgi_calls, permissions
from accounts.actors import Actor
from accounts.authentication import of_asgi_request
from accounts.idempotency import REPLAYED
from accounts.models import Credential
from core.concurrency.threadpool import run_in_threadpool
from core.limits import LIMITS
from core.web import request_body
from core.web.openapi import values
from core.web.openapi.routes import Described, described
from core.web.openapi.values import in_query
from core.web.problems import Problem
from core.web.renderers import StructResponse
from ledger import long_poll
from mailbox.envelope import LONGEST_ID
from mailbox.questions import new_id, question
from orchestration.api.bodies import AskBody
from orchestration.sessions import access, questions
from orchestration.sessions.questions import Ask, AskState
from orchestration.sessions.schemas import AskShape

TIMEOUT = in_query(
    "timeout",
    {"type": "number", "minimum": 0, "maximum": long_poll.LONGEST_WAIT, "default": 0},
    f"Seconds to wait; no call is held for longer than `held_call_secs`. {long_poll.BOUND}",
)


@described(
    Described(
        name="sessions_ask",
        tag="sessions",
        body=AskBody,
        answers={200: AskShape},
        refuses={409: ("conflict", "not-running")},
        keyed=True,
    )
)
async def ask(request: Request) -> StructResponse:
    """Ask a question and wait for the answer.

    `pending` after `timeout_secs`; `ended` when its session ended without an answer. A question is durable before
    anyone waits. Its answer is kept for seven days: `GET asks/{ask_id}` returns a late one. 409 `not-running`: the
    session is over. The same `Idempotency-Key` is the same question again. A key or child may have 256 waiting
    calls at a web process; one more is a 429 and asks nothing.
    """
    credential = await of_asgi_request(request)
    may_ask(credential)
    key = asgi_calls.check(request, takes_key=True)
    body = await request_body.read(request, AskBody, 8 * LIMITS.max_question_bytes)
    with long_poll.place(credential):
        asked = await run_in_threadpool(put_question, credential, request.path_params["session_id"], body, key)
        current = await _settled(asked, body.timeout_secs)
    return StructResponse(questions.shape(current), headers=REPLAYED if asked.is_repeated else None)


@described(
    Described(
        name="sessions_asked",
        tag="sessions",
        method="GET",
        query=[TIMEOUT],
        in_path={"ask_id": values.text(LONGEST_ID, least=1)},
        answers={200: AskShape},
    )
)
async def show_ask(request: Request) -> StructResponse:
    """Return the answer, also a late one, or the current state. 404 for an ask that another session sent."""
    credential = await of_asgi_request(request)
    may_look(credential)
    asgi_calls.check(request, long_poll.PARAMETERS)
    secs = long_poll.patience(request.query_params)
    secs = 0 if request.method == "HEAD" else secs
    session_id, ask_id = request.path_params["session_id"], request.path_params["ask_id"]
    with long_poll.place(credential):
        asked = await run_in_threadpool(questions.find, credential, session_id, ask_id)
        current = await _settled(asked, secs)
    return StructResponse(questions.shape(current))


def put_question(credential: Credential, session_id: UUID, body: AskBody, key: str) -> Ask:
    """Put the question.

    A key may ask the sessions of its project; a child's token may ask the sessions below its own.
    """
    session = access.steerable(credential, session_id)
    name = questions.keyed(credential, session_id, key) if key else new_id()
    message, actor = question(body.question, body.mode, id=name), Actor.of_credential(credential)
    try:
        return questions.ask(session.project, session_id, message, actor)
    except Problem as refusal:
        raise (questions.other_body(refusal) if key else refusal) from None


def may_ask(credential: Credential) -> None:
    """Allow callers that may send a message to a session."""
    permissions.allow(credential, "sessions:write", child=True)


def may_look(credential: Credential) -> None:
    """Allow callers that may ask, and callers that may read."""
    writes = "sessions:write" in credential.scopes
    permissions.allow(credential, "sessions:write" if writes else "sessions:read", child=True)


async def _settled(asked: Ask, secs: float | None) -> AskState:
    look, topics = partial(questions.current_state, asked), questions.topics(asked)
    return await long_poll.until(lambda current: current.status != "pending", look, topics, secs)


_SESSION = "/api/v1/sessions/{session_id:uuid}"
routes: list[Any] = [
    Route(f"{_SESSION}/ask", ask, methods=["POST"]),
    Route(f"{_SESSION}/asks/{{ask_id:path}}", show_ask, methods=["GET"]),
]
