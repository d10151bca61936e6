"""The body and answer of a fast-path call in bare ASGI. A Request and a Response would cost more than the call."""

from __future__ import annotations

import asyncio
from typing import Any

import msgspec
from rest_framework.exceptions import UnsupportedMediaType
from rest_framework.utils.mediatypes import media_type_matches
from starlette.requests import ClientDisconnect
from starlette.types import Receive, Scope, Send

from core.limits import LIMITS
from core.web.parsers import StrictJSONParser, too_large
from core.web.problems import Problem

#: ASGI scope key of the whole body, set when the front gate has read it.
BODY = "wardroom.body"
#: The same for its bearer token.
TOKEN = "wardroom.token"  # noqa: S105 - a name
HEADERS = ((b"content-type", b"application/json"), (b"x-content-type-options", b"nosniff"))


def header(scope: Scope, name: bytes) -> str:
    """Return a header's first value, or an empty text. `name` is in lower case."""
    return next((value.decode("latin-1") for key, value in scope["headers"] if key == name), "")


async def body(scope: Scope, receive: Receive) -> bytes:
    """Read the whole body with the checks of DRF and our parser: 415 unless it is JSON, 413 when it is too long.

    Answer 408 unless all of it arrives in time.
    """
    # A short body is already here. A timer would cost as much as the checks.
    raw: bytes | None = scope.get(BODY)
    if raw is None:
        raw = await _in_time(scope, receive)
    elif len(raw) > LIMITS.max_request_bytes:
        raise too_large()
    said = header(scope, b"content-type")
    if raw and said != StrictJSONParser.media_type and not media_type_matches(StrictJSONParser.media_type, said):
        raise UnsupportedMediaType(said)
    return raw


async def _in_time(scope: Scope, receive: Receive) -> bytes:
    limit = LIMITS.max_request_bytes
    length = header(scope, b"content-length")
    if length.isdecimal() and int(length) > limit:
        raise too_large()
    chunks, size, more = [], 0, True
    try:
        async with asyncio.timeout(LIMITS.body_secs):
            while more:
                message = await receive()
                if message["type"] == "http.disconnect":
                    raise ClientDisconnect
                chunks.append(message.get("body", b""))
                size += len(chunks[-1])
                if size > limit:
                    raise too_large()
                more = message.get("more_body", False)
        return b"".join(chunks)
    except TimeoutError:
        raise Problem("too-slow", 408, "The body did not arrive in time.") from None


async def answer(send: Send, status: int, value: Any) -> None:
    """Send a JSON answer."""
    raw = msgspec.json.encode(value)
    headers = [*HEADERS, (b"content-length", str(len(raw)).encode())]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": raw})
