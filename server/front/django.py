"""Django behind one hop to a thread.

Django's own ASGI handler crosses from the event loop to a thread and back at each hook of each middleware, and starts a
new thread for every request. That was a third of the time of a short call. Here the whole synchronous part of a request
runs in one thread of a pool: middleware, view, rendering, and the end of the request.
"""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import functools
from collections.abc import AsyncIterator, Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, cast

from django.core import signals
from django.core.exceptions import RequestAborted
from django.core.handlers.asgi import ASGIHandler, get_script_prefix
from django.http import StreamingHttpResponse
from django.http.response import HttpResponseBase
from django.urls import set_script_prefix

from core.concurrency import threadpool
from core.limits import LIMITS


class DjangoHandler(ASGIHandler):
    """Serves each request in one thread. A caller that leaves does not stop it, and its turn ends with the thread."""

    def __init__(self) -> None:
        super().__init__()
        # As many threads as turns, for reads and for writes: no request that has its turn waits for a thread.
        self._pool = ThreadPoolExecutor(max_workers=2 * LIMITS.requests_at_once, thread_name_prefix="django")

    def load_middleware(self, is_async: bool = False) -> None:
        """Load the synchronous form of every middleware."""
        super().load_middleware(is_async=False)

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Read the body, answer it in a thread, and send the answer."""
        try:
            body = await self.read_body(receive)
        except RequestAborted:
            return
        answer = functools.partial(contextvars.copy_context().run, self._answer, scope, body)
        work = asyncio.get_running_loop().run_in_executor(self._pool, answer)
        try:
            response = await asyncio.shield(work)
        except asyncio.CancelledError:
            # A later cancel must not end the turn before the thread either.
            while not work.done():
                with contextlib.suppress(asyncio.CancelledError):
                    await asyncio.wait([work])
            raise
        await self.send_response(response, send)

    def _answer(self, scope: Any, body: Any) -> HttpResponseBase:
        """Return the finished answer. Its connection to the database is given back before it is sent."""
        set_script_prefix(get_script_prefix(scope))
        signals.request_started.send(sender=self.__class__, scope=scope)
        try:
            with body:
                request, refused = self.create_request(scope, body)
                response = cast(HttpResponseBase, self.get_response(request) if request is not None else refused)
                with contextlib.closing(response):
                    if isinstance(response, StreamingHttpResponse):
                        # A static file. Read it here: its iterator is synchronous.
                        chunks = list(cast(Iterable[bytes], response.streaming_content))

                        async def each() -> AsyncIterator[bytes]:
                            for chunk in chunks:
                                yield chunk

                        response.streaming_content = each()
                return response
        finally:
            threadpool.tidy()
