"""Schemas of text and JSON values as they may be stored, and serializer fields that carry a schema of their own."""

from __future__ import annotations

from typing import Any

from drf_spectacular.extensions import OpenApiSerializerFieldExtension
from rest_framework import serializers

#: PostgreSQL takes no NUL, so no text that is stored holds one.
NO_NUL = r"^[^\x00]*$"
#: At least one character that is seen, as Python's `strip` judges it.
NOT_BLANK = r"[^\s\x00\x1c-\x1f\x85]"
#: Names that people compare by eye: no space, no control, no invisible character.
NAME = r"^[^\p{C}\p{Z}]+$"

#: Any JSON value. The keywords bind only values of their own type; a `type` for each would need a union of itself.
JSON_VALUE: dict[str, Any] = {
    "description": "Any JSON value without NUL characters.",
    "pattern": NO_NUL,
    "items": {"$ref": "#/components/schemas/JsonValue"},
    "propertyNames": {"pattern": NO_NUL},
    "additionalProperties": {"$ref": "#/components/schemas/JsonValue"},
}
COMPONENTS = {"JsonValue": JSON_VALUE}
ANY = {"$ref": "#/components/schemas/JsonValue"}
OBJECT = {"type": "object", "propertyNames": {"pattern": NO_NUL}, "additionalProperties": ANY}


def text(most: int | None = None, *, least: int = 0, pattern: str = NO_NUL, **more: Any) -> dict[str, Any]:
    """The schema of a text of `least` to `most` characters."""
    bounds = {name: value for name, value in (("minLength", least), ("maxLength", most)) if value}
    return {"type": "string", **bounds, "pattern": pattern, **more}


def name(most: int, **more: Any) -> dict[str, Any]:
    """The schema of a name: 1 to `most` characters, all of which are seen."""
    return text(most, least=1, pattern=NAME, **more)


class Shaped(serializers.Field[Any, Any, Any, Any]):
    """A field of an outline that is exactly this schema."""

    def __init__(self, schema: dict[str, Any], **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.schema = schema


class ShapedField(OpenApiSerializerFieldExtension):  # type: ignore[no-untyped-call]
    """Shows a `Shaped` field as its schema."""

    target_class = "accounts.openapi.values.Shaped"

    def map_serializer_field(self, auto_schema: Any, direction: str) -> dict[str, Any]:
        """As it stands in the field."""
        return dict(self.target.schema)
