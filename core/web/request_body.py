"""Request bodies: strict JSON, checked once against the Struct that describes them. See `core.web.fields`."""

from __future__ import annotations

import functools
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, TypeVar
from uuid import UUID

import msgspec
from msgspec import inspect
from starlette.requests import Request

from core.web import faults, problems
from core.web.paths import uuid_of
from wardroom import strict

Body = TypeVar("Body", bound=msgspec.Struct)


async def read(request: Request, body: type[Body], most_bytes: int) -> Body:
    """Return the body of a long-poll call. Null equals absent. 413 over the limit, 422 with the wrong fields."""
    raw = bytearray()
    async for chunk in request.stream():
        raw += chunk
        if len(raw) > most_bytes:
            raise problems.Problem("too-large", 413, f"The body is over {most_bytes} bytes.")
    return convert(strict.loads(bytes(raw)) if raw.strip() else {}, body)


def convert(value: Any, body: type[Body], detail: str = "The body is not valid.") -> Body:
    """Return the typed value of a decoded body. Null equals absent. Raises invalid with every wrong field."""
    said = given(value, body, detail)
    try:
        found = msgspec.convert(said, body)
    except msgspec.ValidationError as error:
        # The second is a fault of `errors`: then msgspec's own words are better than none.
        raise problems.invalid(list(errors(said, body)) or [{"field": "", "detail": str(error)}], detail) from None
    if _has_checks(body) and (wrong := list(errors(said, body))):
        raise problems.invalid(wrong, detail)
    return found


def given(value: Any, body: type[msgspec.Struct], detail: str = "The body is not valid.") -> dict[str, Any]:
    """Return the members that are given. Raises invalid for a value that is no object.

    A null member is absent, unless it is a required one of any JSON value. In JSON, 1.0 is an integer, too.
    """
    if not isinstance(value, Mapping):
        raise problems.invalid([faults.wrong("", value, faults.OBJECT)], detail)
    kinds = _kinds(body)
    said = {name: member for name, member in value.items() if member is not None or kinds.get(name) is Any}
    for name, member in said.items():
        match kinds.get(name):
            case inspect.IntType():
                said[name] = whole(member)
            case inspect.StructType() as nested if isinstance(member, Mapping):
                said[name] = given(member, nested.cls)
    return said


def members(value: Any, body: type[msgspec.Struct]) -> tuple[dict[str, Any], tuple[str, ...]]:
    """Return every member of an unchecked body, None for an absent one, and the names of unknown members.

    It is for an operation that checks the values itself, with `errors`.
    """
    said = given(value, body)
    known = body.__struct_encode_fields__
    return {name: said.get(name) for name in known}, tuple(name for name in said if name not in known)


def refuse(unknown: Sequence[str]) -> None:
    """Raise invalid if there are unknown members."""
    if unknown:
        raise problems.invalid([{"field": faults.step("", name), "detail": problems.UNKNOWN} for name in unknown])


def whole(value: Any) -> Any:
    """Return the value as an integer when it is a whole number written with a decimal point."""
    return int(value) if isinstance(value, float) and value.is_integer() else value


def errors(value: Any, body: type[msgspec.Struct]) -> Iterator[faults.Error]:
    """Yield every wrong field of an unchecked body. msgspec itself stops at the first, with its own text."""
    yield from _errors(_described(body), value, "")


def _errors(kind: Any, value: Any, path: str, extra: dict[str, Any] | None = None) -> Iterator[faults.Error]:
    """Yield the errors of a value and of its members, each with its path."""
    extra = extra or {}
    match kind:
        case inspect.Metadata():
            yield from _errors(kind.type, value, path, extra | (kind.extra or {}))
            return
        case inspect.UnionType():
            if value is not None:
                yield from _errors(_but_null(kind), value, path, extra)
            return
        case inspect.StructType() if isinstance(value, Mapping):
            yield from _errors_of_members(kind, value, path)
            return
        case inspect.ListType() if _is_right(kind, value):
            wrong = [
                error
                for number, item in enumerate(value)
                for error in _errors(kind.item_type, item, faults.step(path, number))
            ]
            if wrong:
                # The check of the whole list expects items of the right type.
                yield from wrong
                return
    if not _is_right(kind, value):
        yield faults.wrong(path, value, extra.get("right") or _right(kind))
    elif (check := extra.get("check")) and (detail := check(value)):
        yield {"field": path, "detail": detail}


def _errors_of_members(kind: inspect.StructType, value: Mapping[str, Any], path: str) -> Iterator[faults.Error]:
    fields = {field.encode_name: field for field in kind.fields}
    if kind.forbid_unknown_fields:
        unknown = (name for name, member in value.items() if name not in fields and member is not None)
        yield from ({"field": faults.step(path, name), "detail": problems.UNKNOWN} for name in unknown)
    for name, field in fields.items():
        if name in value:
            yield from _errors(field.type, value[name], faults.step(path, name))
        elif field.required:
            extra = getattr(field.type, "extra", None) or {}
            yield faults.wrong(faults.step(path, name), None, extra.get("right") or _right(field.type))


def _is_right(kind: Any, value: Any) -> bool:
    """Return True if a value has the type and the bounds of `kind`. Members are not looked at."""
    match kind:
        case inspect.StrType():
            return isinstance(value, str) and _is_sized(kind, value)
        case inspect.BoolType():
            return isinstance(value, bool)
        case inspect.IntType():
            return isinstance(value, int) and not isinstance(value, bool) and _is_within(kind, value)
        case inspect.FloatType():
            return isinstance(value, int | float) and not isinstance(value, bool) and _is_within(kind, value)
        case inspect.UUIDType():
            return isinstance(value, UUID) or (isinstance(value, str) and uuid_of(value) is not None)
        case inspect.ListType():
            return isinstance(value, list) and _is_sized(kind, value)
        case inspect.DictType() | inspect.StructType():
            return isinstance(value, Mapping)
    return True


def _is_sized(kind: Any, value: Any) -> bool:
    return (kind.min_length or 0) <= len(value) and (kind.max_length is None or len(value) <= kind.max_length)


def _is_within(kind: Any, value: Any) -> bool:
    return (kind.ge is None or kind.ge <= value) and (kind.le is None or value <= kind.le)


def _right(kind: Any) -> str:
    """Describe a valid value of a type."""
    match _plain(kind):
        case inspect.StrType() as text:
            return faults.string(text.max_length, text.min_length or 0)
        case inspect.IntType() as whole_number:
            return faults.whole(whole_number.ge, whole_number.le)
        case inspect.FloatType() as number:
            return faults.number(number.ge, number.le)
        case inspect.BoolType():
            return faults.FLAG
        case inspect.UUIDType():
            return faults.UUID
        case inspect.ListType() as items:
            return faults.array(items.max_length, items.min_length or 0)
        case inspect.DictType() | inspect.StructType():
            return faults.OBJECT
    return faults.VALUE


def _plain(kind: Any) -> Any:
    """Return the type without its metadata and without null, which equals absent."""
    while isinstance(kind, inspect.Metadata):
        kind = kind.type
    return _plain(_but_null(kind)) if isinstance(kind, inspect.UnionType) else kind


def _but_null(kind: inspect.UnionType) -> Any:
    return next(each for each in kind.types if not isinstance(each, inspect.NoneType))


@functools.cache
def _described(body: type[msgspec.Struct]) -> inspect.StructType:
    found = inspect.type_info(body)
    assert isinstance(found, inspect.StructType)  # noqa: S101 - for the types
    return found


@functools.cache
def _kinds(body: type[msgspec.Struct]) -> dict[str, Any]:
    """Return the plain type of each field. `Any` marks a required field of any JSON value: it takes null."""
    found = {}
    for field in _described(body).fields:
        kind = _plain(field.type)
        found[field.encode_name] = Any if field.required and isinstance(kind, inspect.AnyType) else kind
    return found


@functools.cache
def _has_checks(body: type[msgspec.Struct]) -> bool:
    return any(map(_is_checked, _described(body).fields))


def _is_checked(kind: Any) -> bool:
    """Return True if a type or one of its members has a check that msgspec does not know."""
    match kind:
        case inspect.Field():
            return _is_checked(kind.type)
        case inspect.Metadata():
            return "check" in (kind.extra or {}) or _is_checked(kind.type)
        case inspect.UnionType():
            return any(map(_is_checked, kind.types))
        case inspect.ListType():
            return _is_checked(kind.item_type)
        case inspect.StructType():
            return any(map(_is_checked, kind.fields))
    return False
