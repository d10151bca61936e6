"""Strict request bodies for DRF: no coercion, an unknown field is an error, null equals absent."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, ClassVar
from uuid import UUID

from rest_framework import serializers

from core.web import faults, problems

#: Error codes: a value that should be an object, and a check of ours with its own text.
NO_OBJECT, CHECKED = "no-object", "checked"


class Text(serializers.CharField):
    """A JSON string, kept unchanged."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**{"trim_whitespace": False, **kwargs})

    def to_internal_value(self, data: Any) -> str:
        """Return the string. Refuse a number."""
        if not isinstance(data, str):
            self.fail("invalid")
        return str(super().to_internal_value(data))


class Whole(serializers.IntegerField):
    """A JSON integer, not a string or a boolean. JSON has one kind of number, so 1.0 is the integer 1."""

    def to_internal_value(self, data: Any) -> int:
        """Return the integer."""
        data = whole(data)
        if not isinstance(data, int) or isinstance(data, bool):
            self.fail("invalid")
        return int(super().to_internal_value(data))


def whole(value: Any) -> Any:
    """Return the value as an integer when it is a whole number written with a decimal point."""
    return int(value) if isinstance(value, float) and value.is_integer() else value


class Flag(serializers.BooleanField):
    """A JSON boolean, and nothing that resembles one."""

    def to_internal_value(self, data: Any) -> bool:
        """Return the boolean."""
        if not isinstance(data, bool):
            self.fail("invalid", input=data)
        return data


class Id(serializers.UUIDField):
    """A UUID as a JSON string, not a number."""

    def to_internal_value(self, data: Any) -> UUID:
        """Return the UUID."""
        if not isinstance(data, str):
            self.fail("invalid", value=data)
        return super().to_internal_value(data)


class Body(serializers.Serializer[Any]):
    """The base of every strict body. `validated_data` holds only fields that are given and not null.

    For the OpenAPI document, `schemas` describes fields in more detail than their class does, and `rules` holds JSON
    Schema keywords that bind several fields.
    """

    strict = True
    schemas: ClassVar[dict[str, Any]] = {}
    rules: ClassVar[dict[str, Any]] = {}

    def to_internal_value(self, data: Any) -> dict[str, Any]:
        """Refuse unknown fields together with all other errors."""
        if not isinstance(data, Mapping):
            raise serializers.ValidationError({"": faults.OBJECT}, code=NO_OBJECT)
        said = {name: value for name, value in data.items() if value is not None}
        errors: dict[str, Any] = {name: problems.UNKNOWN for name in said if name not in self.fields}
        given = {name: value for name, value in said.items() if name not in errors}
        try:
            found = super().to_internal_value(given)
        except serializers.ValidationError as error:
            raise serializers.ValidationError({**errors, **error.detail}) from None  # type: ignore[dict-item]
        if errors:
            raise serializers.ValidationError(errors)
        return dict(found)


def read(body: type[Body], data: Any) -> dict[str, Any]:
    """Return the fields of `data`. Raises invalid with every wrong field."""
    checked = body(data=data)
    if not checked.is_valid():
        raise problems.invalid(list(_wrong(checked, data, checked.errors, "")))
    return dict(checked.validated_data)


def _wrong(field: Any, value: Any, detail: Any, path: str) -> Iterator[faults.Error]:
    """Yield the nested details of a serializer, each as one entry of `errors`."""
    if isinstance(detail, Mapping):
        for name, inner in detail.items():
            if _is_of_whole(inner):
                yield faults.wrong(path, value, faults.OBJECT)
            else:
                yield from _wrong(_within(field, name), _member(value, name), inner, faults.step(path, name))
        return
    for each in detail if isinstance(detail, list) else [detail]:
        if field is None or getattr(each, "code", "") not in field.error_messages:
            yield {"field": path, "detail": str(each)}
        else:
            yield faults.wrong(path, value, describe(field))


def _is_of_whole(detail: Any) -> bool:
    """Return True when the detail says that the value itself is no object.

    Such a detail is stored under a name, like the detail of any member.
    """
    return any(getattr(each, "code", "") == NO_OBJECT for each in (detail if isinstance(detail, list) else [detail]))


def _within(field: Any, name: Any) -> Any:
    if isinstance(field, serializers.Serializer):
        return field.fields.get(name)
    return getattr(field, "child", None)


def _member(value: Any, name: Any) -> Any:
    if isinstance(value, Mapping):
        return value.get(name)
    return value[name] if isinstance(value, list) and isinstance(name, int) and name < len(value) else None


def describe(field: Any) -> str:
    """Describe a valid value of a field."""
    match field:
        case serializers.ChoiceField():
            return faults.one_of(field.choices)
        case serializers.BooleanField():
            return faults.FLAG
        case serializers.UUIDField():
            return faults.UUID
        case serializers.CharField():
            return faults.string(field.max_length, field.min_length or int(not field.allow_blank))
        case serializers.IntegerField():
            return faults.whole(field.min_value, field.max_value)
        case serializers.FloatField():
            return faults.number(field.min_value, field.max_value)
        case serializers.ListField():
            return faults.array(field.max_length, field.min_length or 0)
        case serializers.DateTimeField():
            return faults.MOMENT
        case serializers.Serializer() | serializers.DictField():
            return faults.OBJECT
    return faults.VALUE
