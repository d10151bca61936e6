"""The body of a long-poll call: strict JSON, bounded while it is read, as one typed value."""

from __future__ import annotations

import functools
import re
from collections.abc import Iterator
from typing import Any, TypeVar

import msgspec
from starlette.requests import Request

from core.web import faults, problems
from core.web.bodies import whole
from wardroom import strict

Body = TypeVar("Body", bound=msgspec.Struct)


async def read(request: Request, body: type[Body], most_bytes: int) -> Body:
    """Return the body as a typed value. Null equals absent. 413 over the limit, 422 with the wrong fields."""
    raw = bytearray()
    async for chunk in request.stream():
        raw += chunk
        if len(raw) > most_bytes:
            raise problems.Problem("too-large", 413, f"The body is over {most_bytes} bytes.")
    return convert(strict.loads(bytes(raw)) if raw.strip() else {}, body)


def convert(value: Any, body: type[Body]) -> Body:
    """Return the typed value of a decoded body. Raises invalid."""
    if isinstance(value, dict):
        integers = _integers(body)
        said = ((name, member) for name, member in value.items() if member is not None)
        value = {name: whole(member) if name in integers else member for name, member in said}
    try:
        return msgspec.convert(value, body)
    except msgspec.ValidationError:
        raise problems.invalid(list(_wrong(value, body))) from None


def _wrong(value: Any, body: type[msgspec.Struct]) -> Iterator[faults.Error]:
    """Yield every wrong field. msgspec itself stops at the first, with its own text."""
    if not isinstance(value, dict):
        yield faults.wrong("", value, faults.OBJECT)
        return
    fields = {field.encode_name: field for field in msgspec.structs.fields(body)}
    if body.__struct_config__.forbid_unknown_fields:
        unknown = [name for name in value if name not in fields]
        yield from ({"field": faults.step("", name), "detail": problems.UNKNOWN} for name in unknown)
    for name, field in fields.items():
        if name not in value:
            if field.required:
                yield faults.wrong(name, None, _right(msgspec.inspect.type_info(field.type)))
            continue
        try:
            msgspec.convert(value[name], field.type)
        except msgspec.ValidationError as error:
            yield _of_value(name, value[name], field.type, str(error))


def _of_value(name: str, value: Any, type: Any, said: str) -> faults.Error:
    """Return the error of the field, or of the item that msgspec names as `$[0]`."""
    right = _plain(msgspec.inspect.type_info(type))
    item = re.search(r" - at `\$\[(\d+)\]`$", said)
    if item and isinstance(right, msgspec.inspect.ListType):
        number = int(item[1])
        return faults.wrong(faults.step(name, number), value[number], _right(right.item_type))
    return faults.wrong(name, value, _right(right))


def _plain(type: Any) -> Any:
    """Return the type without null, which equals absent."""
    others = [each for each in getattr(type, "types", ()) if not isinstance(each, msgspec.inspect.NoneType)]
    return others[0] if others else type


def _right(type: Any) -> str:
    """Describe a valid value of a type."""
    match _plain(type):
        case msgspec.inspect.StrType() as text:
            return faults.string(text.max_length, text.min_length or 0)
        case msgspec.inspect.IntType() as whole_number:
            return faults.whole(whole_number.ge, whole_number.le)
        case msgspec.inspect.FloatType() as number:
            return faults.number(number.ge, number.le)
        case msgspec.inspect.BoolType():
            return faults.FLAG
        case msgspec.inspect.ListType() as items:
            return faults.array(items.max_length, items.min_length or 0)
    return faults.VALUE


@functools.cache
def _integers(body: type[msgspec.Struct]) -> frozenset[str]:
    """Return the fields of a body that take integers. In JSON 1.0 is an integer, too."""
    described: Any = msgspec.inspect.type_info(body)
    kinds = {field.name: getattr(field.type, "types", (field.type,)) for field in described.fields}
    return frozenset(
        name for name, types in kinds.items() if any(isinstance(each, msgspec.inspect.IntType) for each in types)
    )
