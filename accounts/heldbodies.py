"""The body of a held call: strict JSON, bounded while it is read, as one typed value."""

from __future__ import annotations

import functools
from typing import Any, TypeVar

import msgspec
from starlette.requests import Request

from accounts import problems
from accounts.bodies import whole
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
        integers = _integers(body)
        said = ((name, member) for name, member in value.items() if member is not None)
        value = {name: whole(member) if name in integers else member for name, member in said}
    try:
        return msgspec.convert(value, body)
    except msgspec.ValidationError as error:
        detail, _, path = str(error).partition(" - at `$")
        # What is missing or too much is named in the sentence, not in the path.
        named = detail.split("`")[1] if detail.startswith("Object ") else ""
        field = path.rstrip("`").lstrip(".") or named
        raise problems.invalid([{"field": field, "detail": detail}]) from None


@functools.cache
def _integers(body: type[msgspec.Struct]) -> frozenset[str]:
    """The fields of a body that take integers: 1.0 is one too, as JSON counts."""
    described: Any = msgspec.inspect.type_info(body)
    kinds = {field.name: getattr(field.type, "types", (field.type,)) for field in described.fields}
    return frozenset(
        name for name, types in kinds.items() if any(isinstance(each, msgspec.inspect.IntType) for each in types)
    )
