"""The form of a response: a flat JSON Schema, from which a page can draw fields."""

from __future__ import annotations

from typing import Any

from approvals.json_schema import bounds, validation
from wardroom import jcs

MAX_BYTES, MAX_FIELDS, MAX_OPTIONS = 16 * 1024, 32, 100
TYPES = ("string", "number", "integer", "boolean")
TEXTS = ("title", "description")
#: The keywords of one field, by its type. `enum` and the texts belong to each.
BOUNDS_OF = {
    "string": ("minLength", "maxLength"),
    "number": ("minimum", "maximum"),
    "integer": ("minimum", "maximum"),
    "boolean": (),
}


def schema_errors(field: str, schema: dict[str, Any]) -> list[dict[str, str]]:
    """Return why a schema is no form, or nothing."""
    try:
        _check(schema)
    except bounds.Refused as refused:
        return [refused.fault(field)]
    return validation.schema_errors(field, whole(schema))


def errors(field: str, schema: dict[str, Any], response: Any) -> list[dict[str, str]]:
    """Return why a response does not fit its form, or nothing."""
    return validation.errors(field, whole(schema), response)


def whole(schema: dict[str, Any]) -> dict[str, Any]:
    """Return the schema with what a form takes for granted: an object, and no other members."""
    return {**schema, "type": "object", "additionalProperties": False}


def _check(schema: dict[str, Any]) -> None:
    """Raise Refused for a schema that is not flat, or has other keywords than a form can show."""
    try:
        size = len(jcs.canonical(schema).encode())
    except jcs.CanonicalError as error:
        raise bounds.Refused((), str(error)) from None
    if size > MAX_BYTES:
        raise bounds.Refused((), f"is larger than {MAX_BYTES} bytes")
    for name in schema:
        if name not in ("$schema", "type", "properties", "required", "additionalProperties", *TEXTS):
            raise bounds.Refused((name,), "is no keyword of a form")
    if schema.get("type", "object") != "object":
        raise bounds.Refused(("type",), "must be `object`")
    fields = schema.get("properties")
    if not isinstance(fields, dict) or not 1 <= len(fields) <= MAX_FIELDS:
        raise bounds.Refused(("properties",), f"must be an object of 1 to {MAX_FIELDS} fields")
    required = schema.get("required", [])
    if not isinstance(required, list) or not all(isinstance(name, str) and name in fields for name in required):
        raise bounds.Refused(("required",), "must be an array of names of fields")
    _check_texts(schema, ())
    for name, field in fields.items():
        _check_field(field, ("properties", name))


def _check_field(field: Any, path: tuple[str | int, ...]) -> None:
    if not isinstance(field, dict):
        raise bounds.Refused(path, "must be an object")
    options = field.get("enum")
    kind = field.get("type", "string" if options is not None else None)
    if kind not in TYPES:
        raise bounds.Refused((*path, "type"), f"must be one of {', '.join(TYPES)}")
    for name in field:
        if name not in ("type", "enum", *TEXTS, *BOUNDS_OF[kind]):
            raise bounds.Refused((*path, name), f"is no keyword of a field of the type {kind}")
    _check_texts(field, path)
    if options is not None and not (isinstance(options, list) and 1 <= len(options) <= MAX_OPTIONS):
        raise bounds.Refused((*path, "enum"), f"must be an array of 1 to {MAX_OPTIONS} values")
    for number, option in enumerate(options or []):
        if isinstance(option, dict | list) or option is None:
            raise bounds.Refused((*path, "enum", number), "must be a string, a number, true or false")


def _check_texts(schema: dict[str, Any], path: tuple[str | int, ...]) -> None:
    for name in TEXTS:
        if not isinstance(schema.get(name, ""), str):
            raise bounds.Refused((*path, name), "must be a string")
