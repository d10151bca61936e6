"""Schemas of text and JSON as both databases store them."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from drf_spectacular.utils import OpenApiParameter

from core.display.names import PATTERN

#: PostgreSQL takes no NUL, so stored text holds none.
NO_NUL = r"^[^\x00]*$"
#: No NUL, and at least one character that `str.strip` keeps.
NOT_BLANK = r"^[^\x00]*[^\s\x00\x1c-\x1f\x85][^\x00]*$"
#: The largest integer that every JSON reader reads alike.
MOST_EXACT = 2**53 - 1

Schema = dict[str, Any]

MOMENT: Schema = {"type": "string", "format": "date-time"}


def reference(name: str) -> Schema:
    """Return the `$ref` of a schema component."""
    return {"$ref": f"#/components/schemas/{name}"}


def _json(name: str, description: str, **more: Any) -> Schema:
    # Each keyword binds only values of its own type. A `type` for each would need a union that contains itself, which
    # client generators cannot read.
    itself = reference(name)
    members = {"items": itself, "propertyNames": {"pattern": NO_NUL}, "additionalProperties": itself}
    return {"description": description, "pattern": NO_NUL, **members, **more}


COMPONENTS = {
    "JsonValue": _json("JsonValue", "Any JSON value without NUL characters."),
    "ExactJsonValue": _json(
        "ExactJsonValue",
        "Any JSON value without NUL characters and without integers that readers round.",
        minimum=-MOST_EXACT,
        maximum=MOST_EXACT,
    ),
}


def any_json(value: str = "JsonValue", **more: Any) -> Schema:
    """Return the schema of any such value, for a field."""
    return {name: member for name, member in COMPONENTS[value].items() if name != "description"} | more


def json_object(value: str = "JsonValue", **more: Any) -> Schema:
    """Return the schema of an object of such values."""
    members = {"propertyNames": {"pattern": NO_NUL}, "additionalProperties": reference(value)}
    return {"type": "object", **members, **more}


def text(most: int | None = None, *, least: int = 0, pattern: str = NO_NUL, **more: Any) -> Schema:
    """Return the schema of a text of `least` to `most` characters."""
    bounds = {name: value for name, value in (("minLength", least), ("maxLength", most)) if value}
    return {"type": "string", **bounds, "pattern": pattern, **more}


def name(most: int, **more: Any) -> Schema:
    """Return the schema of a name of 1 to `most` characters. See `core.display.names`."""
    return text(most, least=1, **{"pattern": PATTERN, **more})


def choice(words: Iterable[str]) -> Schema:
    """Return the schema of one of these words."""
    return {"type": "string", "enum": list(words)}


def words(known: Iterable[str]) -> Schema:
    """Return the schema of some of these words, comma-separated."""
    one = "|".join(known)
    return {"type": "string", "pattern": f"^({one})(,({one}))*$"}


def in_query(name: str, schema: Schema, description: str = "") -> OpenApiParameter:
    """Return a parameter of the query."""
    return OpenApiParameter(name, schema, OpenApiParameter.QUERY, description=description)


def nullable(schema: Schema) -> Schema:
    """Return the schema, extended by null."""
    if "$ref" in schema or "enum" in schema:
        return {"oneOf": [schema, {"type": "null"}]}
    if "type" not in schema:
        return schema
    kinds = schema["type"] if isinstance(schema["type"], list) else [schema["type"]]
    return schema | {"type": [*dict.fromkeys([*kinds, "null"])]}
