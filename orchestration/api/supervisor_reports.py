"""The two calls of a child's supervisor. They skip Django: each process makes one every few seconds."""

from __future__ import annotations

from typing import Annotated, Any, ClassVar
from uuid import UUID

import msgspec
from msgspec import UNSET, Meta, UnsetType
from starlette.convertors import Convertor, register_url_convertor
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from accounts import asgi_calls, authentication, credentials
from core.concurrency.threadpool import run_in_threadpool
from core.limits import LIMITS
from core.web import problems, request_body
from core.web.fields import one_of, text
from core.web.openapi.routes import Described, described
from core.web.renderers import StructResponse
from orchestration.sessions import supervisor_reports
from orchestration.states import Status


class AttemptNumber(Convertor[int]):
    """An attempt's number in a path. A number with more digits than any column holds is not found."""

    regex = "[1-9][0-9]{0,8}"
    schema: ClassVar = {"type": "integer", "minimum": 1, "maximum": 999_999_999}

    def convert(self, value: str) -> int:
        """Return the number."""
        return int(value)

    def to_string(self, value: int) -> str:
        """Return its digits."""
        return str(value)


register_url_convertor("attempt", AttemptNumber())
PATH = "/api/v1/sessions/{session_id:uuid}/attempts/{number:attempt}"
MAX_REPORT_BYTES = 256 * 1024

Pid = Annotated[int, Meta(ge=1, le=2**31 - 1)]


class AttemptAliveBody(msgspec.Struct, frozen=True):
    """Unknown fields are ignored: a supervisor outlives a server and may meet an older one."""

    pid: Pid
    pgid: Pid
    host: Annotated[str, text(255, 1)]


class AttemptAliveAnswer(msgspec.Struct, frozen=True):
    action: Annotated[str, one_of(["continue", "kill"])]
    reason: str | UnsetType = UNSET


class AttemptExitedBody(msgspec.Struct, frozen=True):
    """Unknown fields are ignored: a supervisor outlives a server and may meet an older one."""

    exit_status: Annotated[int, Meta(ge=-(2**31), le=2**31 - 1)] | None = None
    exit_signal: Annotated[int, Meta(ge=1, le=255)] | None = None
    stderr_tail: Annotated[str, text(65536)] = ""

    rules: ClassVar[dict[str, Any]] = {
        "if": {"properties": {"exit_status": {"type": "integer"}}, "required": ["exit_status"]},
        "then": {"properties": {"exit_signal": {"type": "null"}}},
        "else": {"properties": {"exit_signal": {"type": "integer"}}, "required": ["exit_signal"]},
    }


class AttemptExitedAnswer(msgspec.Struct, frozen=True):
    status: Annotated[str, one_of(Status.values)]


_ABOUT: dict[str, Any] = {"tag": "supervisors", "callers": "It needs the token of this attempt."}
ALIVE = Described(name="attempt_alive", body=AttemptAliveBody, answers={200: AttemptAliveAnswer}, **_ABOUT)
EXITED = Described(name="attempt_exited", body=AttemptExitedBody, answers={200: AttemptExitedAnswer}, **_ABOUT)


@described(ALIVE)
async def alive(request: Request) -> Response:
    """Record that the process is alive. The answer says whether it may continue."""
    await authentication.refuse_forged(request)
    asgi_calls.check(request)
    body = await request_body.read(request, AttemptAliveBody, MAX_REPORT_BYTES)
    life = supervisor_reports.Life(pid=body.pid, pgid=body.pgid, host=body.host)
    reason = await run_in_threadpool(supervisor_reports.alive, *_target(request), life)
    return StructResponse(AttemptAliveAnswer("continue") if reason is None else AttemptAliveAnswer("kill", reason))


@described(EXITED)
async def exited(request: Request) -> Response:
    """Record the exit status of the process."""
    await authentication.refuse_forged(request)
    asgi_calls.check(request)
    body = await request_body.read(request, AttemptExitedBody, MAX_REPORT_BYTES)
    if (body.exit_status is None) == (body.exit_signal is None):
        raise problems.invalid([{"field": "exit_status", "detail": "needs exactly one of exit_status and exit_signal"}])
    tail = body.stderr_tail[-LIMITS.stderr_tail_bytes :]
    how = supervisor_reports.Exit(exit_status=body.exit_status, exit_signal=body.exit_signal, stderr_tail=tail)
    status = await run_in_threadpool(supervisor_reports.exited, *_target(request), how)
    return StructResponse(AttemptExitedAnswer(status))


def _target(request: Request) -> tuple[str, UUID, int]:
    token = credentials.bearer(request.headers.get("authorization", ""))
    return token, request.path_params["session_id"], request.path_params["number"]


routes: list[Route] = [
    Route(f"{PATH}/alive", alive, methods=["POST"]),
    Route(f"{PATH}/exited", exited, methods=["POST"]),
]
