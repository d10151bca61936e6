"""Strict request bodies for DRF: nothing is coerced, an unknown field is an error, null equals absent."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar
from uuid import UUID

from rest_framework import serializers

from accounts import problems


class Text(serializers.CharField):
    """A JSON string, kept as it is."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**{"trim_whitespace": False, **kwargs})

    def to_internal_value(self, data: Any) -> str:
        """The string itself; a number is not one."""
        if not isinstance(data, str):
            self.fail("invalid")
        return str(super().to_internal_value(data))


class Whole(serializers.IntegerField):
    """A JSON integer: no string, no boolean. JSON has one kind of number, so 1.0 is the integer 1."""

    def to_internal_value(self, data: Any) -> int:
        """The integer itself."""
        data = whole(data)
        if not isinstance(data, int) or isinstance(data, bool):
            self.fail("invalid")
        return int(super().to_internal_value(data))


def whole(value: Any) -> Any:
    """The value, as an integer where it is one that was written with a decimal point."""
    return int(value) if isinstance(value, float) and value.is_integer() else value


class Flag(serializers.BooleanField):
    """true or false, and nothing that resembles them."""

    def to_internal_value(self, data: Any) -> bool:
        """The boolean itself."""
        if not isinstance(data, bool):
            self.fail("invalid", input=data)
        return data


class Id(serializers.UUIDField):
    """A UUID as a JSON string; a number is none."""

    def to_internal_value(self, data: Any) -> UUID:
        """The UUID itself."""
        if not isinstance(data, str):
            self.fail("invalid", value=data)
        return super().to_internal_value(data)


class Body(serializers.Serializer[Any]):
    """The base of every strict body. `validated_data` has only what was given and is not null.

    For the OpenAPI document: `schemas` are fields that say more than their class does, and `rules` keywords of JSON
    Schema that bind several fields.
    """

    strict = True
    schemas: ClassVar[dict[str, Any]] = {}
    rules: ClassVar[dict[str, Any]] = {}

    def to_internal_value(self, data: Any) -> dict[str, Any]:
        """Refuse unknown fields together with whatever else is wrong."""
        if not isinstance(data, Mapping):
            raise serializers.ValidationError({"": "must be a JSON object"})
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
    """What `data` says, field by field; raises DRF's ValidationError, which is a 422 with `errors`."""
    judged = body(data=data)
    judged.is_valid(raise_exception=True)
    return dict(judged.validated_data)
