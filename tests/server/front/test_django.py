"""Django behind one hop: one thread answers a whole request. A caller that leaves keeps its turn until that ends."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from django.core import signals
from django.http import HttpRequest, HttpResponse, StreamingHttpResponse
from django.urls import get_script_prefix
from django.utils import translation

from server.front.django import DjangoHandler

SCOPE = {"type": "http", "method": "GET", "path": "/", "query_string": b"", "headers": [], "http_version": "1.1"}
View = Callable[[HttpRequest], HttpResponse]
pytestmark = pytest.mark.once


def handler(view: View) -> DjangoHandler:
    made = DjangoHandler()
    made.get_response = view  # type: ignore[method-assign, assignment]
    return made


async def call(app: DjangoHandler, **scope: Any) -> list[dict[str, Any]]:
    sent: list[dict[str, Any]] = []

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message: dict[str, Any]) -> None:
        sent.append(message)

    await app(SCOPE | scope, receive, send)
    return sent


def test_no_middleware_runs_on_the_event_loop() -> None:
    """An asynchronous chain would be a coroutine function."""
    assert not asyncio.iscoroutinefunction(DjangoHandler()._middleware_chain)  # type: ignore[attr-defined]


@pytest.mark.asyncio
async def test_the_request_and_its_end_run_in_one_thread_with_a_context_of_their_own() -> None:
    seen: list[tuple[str, int]] = []

    def note(what: str) -> Callable[..., None]:
        return lambda **_: seen.append((what, threading.get_ident()))

    begin, end = note("begin"), note("end")
    signals.request_started.connect(begin, sender=DjangoHandler)
    signals.request_finished.connect(end)

    def view(request: HttpRequest) -> HttpResponse:
        seen.append(("view", threading.get_ident()))
        assert get_script_prefix() == "/below/"
        translation.activate("de")
        response = HttpResponse(translation.get_language())
        response._handler_class = DjangoHandler  # type: ignore[attr-defined]
        return response

    try:
        sent = await call(handler(view), root_path="/below")
    finally:
        signals.request_started.disconnect(begin, sender=DjangoHandler)
        signals.request_finished.disconnect(end)
    assert [what for what, _ in seen] == ["begin", "view", "end"]
    assert len({thread for _, thread in seen} - {threading.get_ident()}) == 1
    assert sent[-1]["body"] == b"de"

    def next_view(request: HttpRequest) -> HttpResponse:
        return HttpResponse(f"{translation.get_language()} {get_script_prefix()}")

    assert (await call(handler(next_view)))[-1]["body"] == f"{translation.get_language()} /".encode()
    assert translation.get_language() != "de"


@pytest.mark.asyncio
async def test_an_answer_that_cannot_be_read_is_closed_all_the_same() -> None:
    """Its end gives the connection to the database back."""
    made: list[StreamingHttpResponse] = []

    def chunks() -> Iterator[bytes]:
        yield b"a"
        raise OSError("the disk is gone")

    def view(request: HttpRequest) -> HttpResponse:
        made.append(StreamingHttpResponse(chunks()))
        return made[0]  # type: ignore[return-value]

    with pytest.raises(OSError, match="the disk is gone"):
        await call(handler(view))
    assert made[0].closed


@pytest.mark.asyncio
@pytest.mark.parametrize("cancels", [1, 2, 3])
async def test_a_cancelled_call_ends_with_its_thread(cancels: int) -> None:
    """Its turn must not go to another request while the thread still works."""
    begun, go_on, ended = threading.Event(), threading.Event(), threading.Event()

    def view(request: HttpRequest) -> HttpResponse:
        begun.set()
        assert go_on.wait(20)
        ended.set()
        return HttpResponse()

    task = asyncio.ensure_future(call(handler(view)))
    await asyncio.to_thread(begun.wait, 20)
    for _ in range(cancels):
        task.cancel()
        _, pending = await asyncio.wait([task], timeout=0.1)
        assert pending, "the call ended before its thread"
    go_on.set()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert ended.is_set()
