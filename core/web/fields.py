"""The types of fields in bodies and answers.

A msgspec Struct describes each body and each answer once: `core.web.request_body` checks a body against it, and
`core.web.openapi.structs` describes it. `msgspec.Meta` carries the bounds. The functions here add what Meta has no name
for: a check of our own, the words of a refusal, and the words of the document.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Annotated, Any, ClassVar

import msgspec
from msgspec import Meta

from core.display import names
from core.web import faults
from core.web.openapi import values

#: Returns the detail of a refusal, or None for a valid value.
Check = Callable[[Any], str | None]

#: A time or an id in an answer, already as text.
Moment = Annotated[str, Meta(extra_json_schema={"format": "date-time"})]
Id = Annotated[str, Meta(extra_json_schema={"format": "uuid"})]


class Body(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The base of request bodies. An unknown field is refused: a misspelt one would be ignored, and its default used.

    For the OpenAPI document, `rules` are keywords of JSON Schema that bind several fields, and `component` is the name
    where the name of the class is taken.
    """

    rules: ClassVar[dict[str, Any]] = {}
    component: ClassVar[str] = ""


def text(
    most: int | None = None,
    least: int = 0,
    *,
    says: str = "",
    right: str = "",
    check: Check | None = None,
    pattern: str = values.NO_NUL,
) -> Meta:
    """Bound a string to `least` to `most` characters. `pattern` is what `check` checks, for the OpenAPI document."""
    extra: dict[str, Any] = {"right": right} if right else {}
    extra |= {"check": check} if check else {}
    return Meta(
        min_length=least or None,
        max_length=most,
        description=says or None,
        extra_json_schema={"pattern": pattern},
        extra=extra or None,
    )


def one_of(words: Iterable[str], *, says: str = "", shown: Iterable[str] | None = None) -> Meta:
    """Bound a string to these words. `shown` are the words that the OpenAPI document names, if they are fewer."""
    known = list(words)
    right = faults.one_of(known)

    def check(value: Any) -> str | None:
        return None if value in known else faults.must(right, value)

    return shaped(values.choice(known if shown is None else shown), says=says, right=right, check=check)


def name(most: int, *, says: str = "") -> Meta:
    """Bound a string to 1 to `most` visible characters. See `core.display.names`."""
    right = f"{faults.string(most, 1)}, none of them invisible"

    def check(value: Any) -> str | None:
        return None if names.is_visible(value) else faults.must(right, value)

    return text(most, 1, says=says, right=right, check=check, pattern=names.PATTERN)


def shaped(
    schema: values.Schema, *, says: str = "", right: str = "", check: Check | None = None, required: bool = False
) -> Meta:
    """Describe a value by a schema of its own. `required`: an operation refuses its absence, in its own words."""
    extra: dict[str, Any] = {"schema": schema, "required": required}
    extra |= {"right": right} if right else {}
    extra |= {"check": check} if check else {}
    return Meta(description=says or None, extra=extra)


def says(description: str) -> Meta:
    """Describe a field in the OpenAPI document."""
    return Meta(description=description)
