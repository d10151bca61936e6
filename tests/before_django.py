"""The routes before Django, called in the thread and in the transaction of a test."""

from __future__ import annotations

import asyncio
import functools
import re
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Executor
from contextlib import contextmanager
from queue import Queue
from threading import Thread
from typing import Any
from urllib.parse import unquote

import httpx
import pytest
from django.test import Client
from django.urls import Resolver404, resolve
from starlette.types import Receive, Scope, Send

from core.concurrency import threadpool

Job = tuple["asyncio.Future[Any]", Callable[[], Any]]


class Loop(asyncio.SelectorEventLoop):
    """An event loop that gives the work of its threads to the thread of the test, where its transaction is."""

    def __init__(self, jobs: Queue[Job | None]) -> None:
        super().__init__()
        self._jobs = jobs

    def run_in_executor(self, executor: Executor | None, func: Callable[..., Any], *args: Any) -> Any:  # type: ignore[override]
        future: asyncio.Future[Any] = self.create_future()
        self._jobs.put((future, functools.partial(func, *args)))
        return future


@functools.cache
def _gate() -> Any:
    from config import asgi_routes
    from server.front.gate import Gate

    return Gate(asgi_routes.finder(_django))


async def _django(scope: Scope, receive: Receive, send: Send) -> None:
    raise AssertionError(f"Django answers {scope['path']}")


@functools.cache
def _paths() -> list[re.Pattern[str]]:
    from config import asgi_routes

    return [route.path_regex for route in asgi_routes.routes() if route.path.startswith("/api/")]


def answers(path: str) -> bool:
    """Whether Django has nothing at this address, and a route before it has."""
    from config.urls import nothing_here

    path = unquote(path.partition("?")[0])
    if not any(each.match(path) for each in _paths()):
        return False
    try:
        return resolve(path).func is nothing_here
    except Resolver404:
        return True


def get(client: Client, path: str, headers: Mapping[str, str], query: Mapping[str, str]) -> Any:
    """The answer to a GET, of the route before Django or of Django's view."""
    if answers(path):
        return call("GET", path, b"", headers, query)
    return client.get(path, query, headers=headers)


def call(method: str, path: str, raw: bytes, headers: Mapping[str, str], query: Mapping[str, str]) -> httpx.Response:
    """The answer of the front gate and the route. Every operation runs in this thread."""
    jobs: Queue[Job | None] = Queue()
    loop, found = Loop(jobs), []

    async def request() -> httpx.Response:
        transport = httpx.ASGITransport(app=_gate())
        async with httpx.AsyncClient(transport=transport, base_url="http://testserver") as client:
            return await client.request(method, path, content=raw, headers=dict(headers), params=dict(query) or None)

    def serve() -> None:
        try:
            found.append(loop.run_until_complete(request()))
            tasks = asyncio.all_tasks(loop)
            for task in tasks:
                task.cancel()
            loop.run_until_complete(_ended(tasks))
        except Exception as error:
            found.append(error)
        finally:
            jobs.put(None)

    thread = Thread(target=serve)
    thread.start()
    while (job := jobs.get()) is not None:
        _work(loop, *job)
    thread.join()
    loop.close()
    if isinstance(found[0], Exception):
        raise found[0]
    return found[0]


async def _ended(tasks: set[asyncio.Task[Any]]) -> None:
    await asyncio.gather(*tasks, return_exceptions=True)


@contextmanager
def _kept_connections() -> Iterator[None]:
    """Keep the connections that a thread of the pool closes between two calls.

    A connection inside a transaction looks unusable there. Closing it would end the transaction of the test. Django's
    own test client leaves this out for the same reason.
    """
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(threadpool, "tidy", lambda: None)
        yield


def _work(loop: Loop, future: asyncio.Future[Any], work: Callable[[], Any]) -> None:
    try:
        with _kept_connections():
            result = work()
        loop.call_soon_threadsafe(future.set_result, result)
    except Exception as error:
        loop.call_soon_threadsafe(future.set_exception, error)
