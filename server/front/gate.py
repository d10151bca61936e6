"""Authenticate the caller before the body is read, and read the body within its bounds.

A short body that arrives at once is read first, because authentication costs a query. All other bodies come after
authentication: a long one, a chunked one, and one that does not arrive at once.
"""

from __future__ import annotations

import contextlib
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from typing import Any, NamedTuple

from starlette.requests import ClientDisconnect
from starlette.types import Receive, Scope, Send

from accounts import bulk_authentication, credentials
from accounts.login import staff_sessions
from accounts.request_head import RequestHead
from core.concurrency.batching import Batcher
from core.concurrency.threadpool import run_in_threadpool
from core.limits import LIMITS
from core.web import callers, fast_path, parsers, problems
from core.web.problems import Problem
from server.front import answers, budget
from server.front.exchange import Exchange, with_body_length
from server.front.turns import READS, Turns

App = Callable[[Scope, Receive, Send], Awaitable[None]]
API, ADMIN = "/api/", "/admin/"
#: Open to everybody.
PUBLIC = {"/api/v1/schema"}
#: A short body usually comes with its head. When it takes longer than this, its caller is authenticated first.
AT_ONCE_SECS = 1.0


class Target(NamedTuple):
    """The app that answers a request. With `reads_body` the app itself bounds a long body after authentication."""

    app: App
    reads_body: bool = False
    #: An answer needs a thread and a database connection.
    takes_turns: bool = False


class Gate:
    """An ASGI app in front of the one that `find` returns for a request."""

    def __init__(self, find: Callable[[Scope], Target]) -> None:
        def are_live(tokens: Sequence[str]) -> list[bool | Exception]:
            found: dict[str, Any] = bulk_authentication.check_all(set(tokens))
            return [found[token] is not None for token in tokens]

        self._find = find
        self._authenticate: Batcher[str, bool] = Batcher(are_live)
        self._reads, self._writes = Turns(), Turns()
        self._proven = callers.Proven()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request. An error before the answer has begun becomes a problem document."""
        head = RequestHead(scope)
        exchange = Exchange(scope, receive, send, has_body=head.has_body)
        try:
            path = scope["path"].removeprefix(scope.get("root_path", ""))
            is_open = path in PUBLIC and not head.has_body
            if path.startswith(API) and not is_open and not credentials.SHAPE.match(head.token):
                raise problems.unauthenticated()
            if not head.has_body:
                await self._answer(scope, head, exchange.receive, exchange)
            elif path.startswith(API):
                await self._with_json(scope, head, exchange)
            else:
                body = await self._form(head, exchange) if path.startswith(ADMIN) else b""
                await self._pass_on(scope, head, body, exchange)
        except ClientDisconnect:
            return  # The caller has left.
        except Exception as error:
            if exchange.started:
                raise
            answer = answers.refusal(problems.refusal(error), scope, head)
            await answer(scope, exchange.receive, exchange.send)
        finally:
            exchange.release()
        await exchange.finish()

    async def _with_json(self, scope: Scope, head: RequestHead, exchange: Exchange) -> None:
        parsers.refuse_encoded(head.text(b"content-encoding"))
        if _is_short(head):
            short: int = LIMITS.unproven_body_bytes
            body = None
            # Unauthenticated slow senders must not fill the memory of other callers.
            if not budget.unproven.is_tight:
                with contextlib.suppress(TimeoutError):
                    body = await exchange.read(short, AT_ONCE_SECS) or b""
            if body is None:
                await self._must_be_live(head.token, exchange)
                body = await _read(exchange, short)
            return await self._pass_on(scope, head, body, exchange)
        await self._must_be_live(head.token, exchange)
        target = self._find(scope)
        if target.reads_body:
            return await target.app(scope, exchange.receive, exchange.send)
        most = LIMITS.max_request_bytes
        if (head.length or 0) > most:
            raise parsers.too_large()
        await self._pass_on(scope, head, await _read(exchange, most), exchange)

    async def _must_be_live(self, token: str, exchange: Exchange) -> None:
        if not await self._authenticate.ask(token):
            raise problems.unauthenticated()
        exchange.prove(credentials.parts(token)[1])

    async def _form(self, head: RequestHead, exchange: Exchange) -> bytes:
        """Return the form of an admin page. A long one requires a login."""
        refusal = Problem("too-large", 413, "Sign in before you send a body of this size.")
        if _is_short(head) and budget.unproven.is_tight:
            refusal = problems.busy("The memory for request bodies is full.")
        elif _is_short(head):
            try:
                return await exchange.read(LIMITS.unproven_body_bytes, AT_ONCE_SECS) or b""
            except TimeoutError:
                refusal = _too_slow()
        user = await run_in_threadpool(staff_sessions.user_of, staff_sessions.key_of(head.text(b"cookie")))
        if user is None:
            raise refusal
        exchange.prove(f"user:{user.pk}")
        most = LIMITS.max_request_bytes
        if (head.length or 0) > most:
            raise parsers.too_large()
        return await _read(exchange, most)

    async def _pass_on(self, scope: Scope, head: RequestHead, body: bytes, exchange: Exchange) -> None:
        whole = scope if len(body) == head.length else with_body_length(scope, len(body))
        whole[fast_path.BODY], whole[fast_path.TOKEN] = body, head.token
        try:
            await self._answer(whole, head, exchange.replay(body), exchange)
        finally:
            # Django's request holds the scope, and may live until the garbage collector runs.
            del whole[fast_path.BODY]

    async def _answer(self, scope: Scope, head: RequestHead, receive: Receive, exchange: Exchange) -> None:
        target = self._find(scope)
        if not target.takes_turns:
            return await target.app(scope, receive, exchange.send)
        turns = self._reads if scope["method"] in READS else self._writes
        secret = head.token or staff_sessions.key_of(head.text(b"cookie"))
        path = scope["path"].removeprefix(scope.get("root_path", ""))
        if path.startswith(API) and path not in PUBLIC and not self._proven.name(secret):
            # A token that is not live is refused before it takes a turn: forged ones would fill an address's queue.
            if not await self._authenticate.ask(head.token):
                raise problems.unauthenticated()
            self._proven.remember(head.token, f"key:{credentials.parts(head.token)[1]}")
        if secret:
            scope[callers.PROVE] = partial(self._proven.remember, secret)
        async with turns.turn(self._proven.name(secret) or callers.address(scope)):
            await target.app(scope, receive, exchange.send)


def _is_short(head: RequestHead) -> bool:
    return head.length is not None and head.length <= LIMITS.unproven_body_bytes


async def _read(exchange: Exchange, most: int) -> bytes:
    """Return the whole body. 413 over the limit, 408 unless all of it arrives in time."""
    try:
        body = await exchange.read(most, LIMITS.body_secs)
    except TimeoutError:
        raise _too_slow() from None
    if body is None:
        raise parsers.too_large()
    return body


def _too_slow() -> Problem:
    return Problem("too-slow", 408, "The body did not arrive in time.")
