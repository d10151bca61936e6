"""The body of a held call: strict JSON, bounded while it is read, as one typed value."""

from __future__ import annotations

from typing import Any, TypeVar

import msgspec
from starlette.requests import Request

from accounts import problems
from wardroom import strict

Body = TypeVar("Body", bound=msgspec.Struct)


async def read(request: Request, body: type[Body], most_bytes: int) -> Body:
    """What the body says; null equals absent. 413 over the limit, 422 with the field that is wrong."""
    raw = bytearray()
    async for chunk in request.stream():
        raw += chunk
        if len(raw) > most_bytes:
            raise problems.Problem("too-large", 413, f"The body is over {most_bytes} bytes.")
    return convert(strict.loads(bytes(raw)) if raw.strip() else {}, body)


def convert(value: Any, body: type[Body]) -> Body:
    """The typed value of a decoded body, or 422."""
    if isinstance(value, dict):
        value = {name: member for name, member in value.items() if member is not None}
    try:
        return msgspec.convert(value, body)
    except msgspec.ValidationError as error:
        detail, _, path = str(error).partition(" - at `$")
        # What is missing or too much is named in the sentence, not in the path.
        named = detail.split("`")[1] if detail.startswith("Object ") else ""
        field = path.rstrip("`").lstrip(".") or named
        raise problems.invalid([{"field": field, "detail": detail}]) from None
