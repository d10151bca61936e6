"""Hostile schemas are refused with their path, or checked in bounded time."""

from __future__ import annotations

import time
from typing import Any

import pytest

from approvals.json_schema import bounds, validation

pytestmark = pytest.mark.once

#: Seconds. An idle machine takes a tenth of it.
BOUNDED = 3.0


def nested(levels: int, leaf: Any) -> Any:
    for _ in range(levels):
        leaf = {"items": leaf}
    return leaf


def laughs(levels: int) -> dict[str, Any]:
    """Each level uses the next one twice."""
    parts: dict[str, Any] = {f"d{level}": {"allOf": [{"$ref": f"#/$defs/d{level + 1}"}] * 2} for level in range(levels)}
    return {"$ref": "#/$defs/d0", "$defs": {**parts, f"d{levels}": {"type": "integer"}}}


REFUSED: dict[str, tuple[dict[str, Any], str]] = {
    "deep": (nested(50, {}), "more than 40 levels"),
    "huge": ({"enum": ["x" * 1000] * 70}, "larger than 65536 bytes"),
    "many values": ({"enum": list(range(5000))}, "more than 4000 values"),
    "exponential": (laughs(11), "with its references written out"),
    "itself": ({"properties": {"a": {"$ref": "#/properties/a"}}}, "refers to itself"),
    "around": ({"$defs": {"a": {"$ref": "#/$defs/b"}, "b": {"$ref": "#/$defs/a"}}}, "refers to itself"),
    "a parent": ({"properties": {"a": {"items": {"$ref": "#/properties"}}}}, "refers to itself"),
    "all of it": ({"$ref": "#"}, "must refer to a part of this schema"),
    "remote": ({"items": {"$ref": "http://127.0.0.1:1/x"}}, "must refer to a part of this schema"),
    "dangling": ({"$ref": "#/$defs/none"}, "refers to nothing"),
    "dynamic": ({"$dynamicRef": "#x"}, "not supported"),
    "another base": ({"items": {"$id": "http://x/y"}}, "at the top only"),
    "unknown draft": ({"$schema": "http://127.0.0.1:1/x"}, "no known draft"),
    "look-ahead": ({"properties": {"a": {"pattern": "(?=a)b"}}}, "in linear time"),
    "large pattern": ({"pattern": "(a{1000}){1000}"}, "in linear time"),
    "named pattern": ({"patternProperties": {"(a)\\1": {}}}, "in linear time"),
    "no schema": ({"properties": {"a": {"minimum": "x"}}}, "is no JSON Schema"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_a_hostile_schema_is_refused_with_its_path(name: str) -> None:
    schema, why = REFUSED[name]
    started = time.monotonic()
    (error,) = validation.schema_errors("tool_schema", schema)
    assert time.monotonic() - started < BOUNDED
    assert why in error["detail"]
    assert error["field"].startswith("tool_schema")


def test_the_path_names_the_place_in_the_schema() -> None:
    (error,) = validation.schema_errors("tool_schema", {"properties": {"a b": {"items": {"$ref": "x"}}}})
    assert error["field"] == 'tool_schema.properties["a b"].items.$ref'


def test_usual_schemas_are_taken() -> None:
    point = {"type": "object", "properties": {"x": {"type": "number"}, "id": {"type": "string"}}}
    for schema in (
        {},
        {"$schema": "http://json-schema.org/draft-07/schema#", "definitions": {"p": point}, "$ref": "#/definitions/p"},
        {"$id": "https://example.com/s", "$defs": {"p/q": point}, "items": {"$ref": "#/$defs/p~1q"}},
        {"properties": {"$ref": {"type": "string"}, "$id": {"type": "string"}}},
        {"allOf": [{"$ref": "#/$defs/p"}, {"$ref": "#/$defs/p"}], "$defs": {"p": point}},
    ):
        assert validation.schema_errors("s", schema) == []


PATTERNS = ("(a|a)*b$", "(x+x+)+y", "(.*a){20}x", "(a?){200}a{200}$")
WIDE = [{"type": "object", "required": [f"k{number}"]} for number in range(700)]


@pytest.mark.parametrize(
    ("schema", "value"),
    [
        *(({"items": {"pattern": pattern}}, ["a" * 400_000]) for pattern in PATTERNS),
        ({"items": {"anyOf": WIDE}}, [1] * 1000),
        ({"anyOf": [{"properties": {"a": {"anyOf": WIDE}}}] * 1}, {"a": 1}),
        ({"uniqueItems": True}, [[number] for number in range(60_000)]),
        ({"items": {"enum": list(range(3900))}}, ["x"] * 60_000),
    ],
)
def test_a_check_ends_in_bounded_time(schema: dict[str, Any], value: Any) -> None:
    started = time.monotonic()
    found = validation.errors("arguments", schema, value)
    assert time.monotonic() - started < BOUNDED
    assert all(len(error["detail"]) < 400 for error in found)


def test_every_error_names_its_path_and_never_the_value() -> None:
    schema = {
        "type": "object",
        "properties": {
            "to": {"enum": ["a", "b"]},
            "n": {"type": "integer", "minimum": 1},
            "l": {"items": {"type": "null"}},
        },
        "required": ["why"],
        "additionalProperties": False,
    }
    found = validation.errors("arguments", schema, {"to": "secret", "n": 0, "l": [None, "secret"], "x y": 1})
    assert sorted(error["field"] for error in found) == [
        "arguments",
        "arguments",
        "arguments.l[1]",
        "arguments.n",
        "arguments.to",
    ]
    assert "secret" not in str(found)
    assert validation.errors("arguments", schema, {"to": "a"})[0]["detail"] == '"why" is a required property'


def test_a_refusal_has_a_bounded_number_of_errors() -> None:
    schema = {"properties": {f"p{number}": {"type": "integer"} for number in range(60)}}
    assert len(validation.errors("a", schema, {f"p{number}": "x" for number in range(60)})) == validation.ERRORS


def test_a_refused_schema_says_so_each_time() -> None:
    for _ in range(2):
        with pytest.raises(bounds.Refused):
            validation.compiled({"$ref": "#"})
