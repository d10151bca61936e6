"""Check a value against a JSON Schema that an asker gave, in bounded time."""

from __future__ import annotations

import functools
import json
from dataclasses import dataclass
from typing import Any

import jsonschema_rs

from approvals.json_schema import bounds
from core.display.text import shortened
from wardroom import jcs

#: Values of the schema times values of the instance: a check takes some 35 ns for each, and a report of errors a
#: thousand times that.
MOST_CHECKED, MOST_REPORTED = 4_000_000, 20_000
#: Steps of regular expressions times characters of the texts: a check takes up to 2 ns for each.
MOST_STEPS = 600_000_000
#: Characters of a text that count as one value.
CHARACTERS = 64
#: The errors of one refusal, and the characters of one detail.
ERRORS, DETAIL = 20, 300
#: Bytes of one compiled regular expression.
PATTERN_BYTES = 200_000
#: The word for a refused value: it may be long, or a secret.
MASK = "the value"


@dataclass(frozen=True, slots=True)
class Compiled:
    """A schema within its bounds. `size` is the number of its values, with its references written out.

    `steps` are the most steps of its regular expressions for one character.
    """

    validator: Any
    size: int
    steps: int


def compiled(schema: dict[str, Any]) -> Compiled:
    """Return the compiled schema. Raises bounds.Refused for one that is out of bounds, or no JSON Schema."""
    try:
        text = jcs.canonical(schema)
    except jcs.CanonicalError as error:
        raise bounds.Refused((), str(error)) from None
    return _compiled(text)


def schema_errors(field: str, schema: dict[str, Any]) -> list[dict[str, str]]:
    """Return why a schema is refused, or nothing."""
    try:
        compiled(schema)
    except bounds.Refused as refused:
        return [refused.fault(field)]
    return []


def errors(field: str, schema: dict[str, Any], value: Any) -> list[dict[str, str]]:
    """Return why a value does not fit, each with its path below `field`. The schema has been accepted before."""
    check = compiled(schema)
    weight, characters = _weight(value)
    work = check.size * weight
    if work > MOST_CHECKED or check.steps * characters > MOST_STEPS:
        return [{"field": field, "detail": "is too large to be checked against the schema"}]
    if check.validator.is_valid(value):
        return []
    if work > MOST_REPORTED:
        try:
            check.validator.validate(value)
        except jsonschema_rs.ValidationError as error:
            return [_error(field, error)]
    return [_error(field, error) for error in list(check.validator.iter_errors(value))[:ERRORS]]


@functools.lru_cache(maxsize=64)
def _compiled(text: str) -> Compiled:
    schema = json.loads(text)
    size, steps = bounds.check(schema)
    try:
        validator = jsonschema_rs.validator_for(
            schema,
            pattern_options=jsonschema_rs.RegexOptions(size_limit=PATTERN_BYTES, dfa_size_limit=PATTERN_BYTES),
            validate_formats=False,
            offline=True,
            mask=MASK,
        )
    except jsonschema_rs.ValidationError as error:
        path = tuple(error.instance_path)
        if (path and path[-1] == "pattern") or "patternProperties" in path:
            detail = "is no regular expression that can be matched in linear time (no look-around, no back-references)"
        else:
            detail = f"is no JSON Schema: {_detail(error)}"
        raise bounds.Refused(path, detail) from None
    except (jsonschema_rs.ReferencingError, ValueError) as error:
        raise bounds.Refused((), f"is no JSON Schema: {shortened(str(error), DETAIL)}") from None
    return Compiled(validator, size, steps)


def _weight(value: Any) -> tuple[int, int]:
    """Return the number of values, with long texts counted by their length, and the characters of all texts."""
    total, characters, rest = 0, 0, [value]
    while rest:
        each = rest.pop()
        total += 1
        if isinstance(each, str):
            characters += len(each)
            total += len(each) // CHARACTERS
        elif isinstance(each, dict):
            characters += sum(map(len, each))
            total += sum(1 + len(name) // CHARACTERS for name in each)
            rest += each.values()
        elif isinstance(each, list):
            rest += each
    return total, characters


def _error(field: str, error: Any) -> dict[str, str]:
    return {"field": bounds.path_of(field, error.instance_path), "detail": _detail(error)}


def _detail(error: Any) -> str:
    return shortened(str(error.message).removeprefix(f"{MASK} "), DETAIL)
