"""Bound the JSON Schema of an asker, before anything compiles it or checks a value against it.

A schema is a program of a stranger. Its size, its depth and its size with every reference written out are bounded. It
may not refer to itself or to another document, and its regular expressions run in linear time. So the time of a check
is at most the product of two bounded numbers. A regular expression with counted repetitions may take thousands of steps
for each character, so they are counted, too.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from typing import Any

from core.web import faults
from wardroom import jcs

MAX_BYTES = 64 * 1024
#: Levels, and JSON values with every reference written out.
MAX_DEPTH, MAX_EXPANDED = 40, 4000
#: The upper number of a counted repetition in a regular expression.
_COUNTED = re.compile(r"\{(?:\d{0,6},)?(\d{1,6}),?\}")
#: The drafts that a schema may name, without the fragment; without a name it is the last one.
DRAFTS = (
    "http://json-schema.org/draft-04/schema",
    "http://json-schema.org/draft-06/schema",
    "http://json-schema.org/draft-07/schema",
    "https://json-schema.org/draft/2019-09/schema",
    "https://json-schema.org/draft/2020-12/schema",
)
#: Keywords that name other schemas in ways that cannot be followed here.
REFUSED = ("$dynamicRef", "$recursiveRef")


class Refused(ValueError):
    """The schema is out of bounds. `path` are the names and numbers that lead to the fault."""

    def __init__(self, path: tuple[str | int, ...], detail: str) -> None:
        super().__init__(detail)
        self.path = path
        self.detail = detail

    def fault(self, field: str) -> dict[str, str]:
        """Return the refusal as an entry of `errors`."""
        return {"field": path_of(field, self.path), "detail": self.detail}


def path_of(field: str, path: Any) -> str:
    """Return the path of a value below a field."""
    for step in path:
        field = faults.step(field, step)
    return field


def check(schema: dict[str, Any]) -> tuple[int, int]:
    """Return the number of values of a schema, and the most steps of its regular expressions for one character.

    Both are counted with its references written out. Raises Refused.
    """
    try:
        size = len(jcs.canonical(schema).encode())
    except jcs.CanonicalError as error:
        raise Refused((), str(error)) from None
    if size > MAX_BYTES:
        raise Refused((), f"is larger than {MAX_BYTES} bytes")
    named = schema.get("$schema")
    if named is not None and (not isinstance(named, str) or named.rstrip("#") not in DRAFTS):
        raise Refused(("$schema",), "names no known draft of JSON Schema")
    walk = _Walk(schema)
    return walk.size, walk.steps


class _Walk:
    """One walk through a schema. It follows each reference once, and adds its size wherever it is used."""

    def __init__(self, schema: dict[str, Any]) -> None:
        self._schema = schema
        # Below the top such a name would change what a reference refers to.
        self._base = "id" if str(schema.get("$schema")).rstrip("#") == DRAFTS[0] else "$id"
        #: The identity of a target -> its size, height and steps; None while it is being followed.
        self._known: dict[int, tuple[int, int, int] | None] = {}
        self.size, _, self.steps = self._of(schema, (), 1)

    def _of(self, value: Any, path: tuple[str | int, ...], depth: int) -> tuple[int, int, int]:
        """Return the number of values here and below, the number of levels, and the steps of regular expressions."""
        if depth > MAX_DEPTH:
            raise Refused(path, f"has more than {MAX_DEPTH} levels")
        if not isinstance(value, dict | list):
            return 1, 1, 0
        size, height, steps = 1, 0, 0
        below = value.get("patternProperties") if isinstance(value, dict) else None
        patterns = list(below) if isinstance(below, dict) else []
        if isinstance(value, dict) and isinstance(value.get("pattern"), str):
            patterns.append(value["pattern"])
        for pattern in patterns:
            # The most steps for one character: the length with the repetitions written out.
            steps += len(pattern) * math.prod(max(1, int(found[1])) for found in _COUNTED.finditer(pattern))
        for step, member in value.items() if isinstance(value, dict) else enumerate(value):
            found = self._of(member, (*path, step), depth + 1)
            size, height, steps = size + found[0], max(height, found[1]), steps + found[2]
        if isinstance(value, dict):
            for found in self._references(value, path, depth):
                size, height, steps = size + found[0], max(height, found[1]), steps + found[2]
        if size > MAX_EXPANDED:
            raise Refused(path, f"has more than {MAX_EXPANDED} values, with its references written out")
        if depth + height > MAX_DEPTH:
            raise Refused(path, f"has more than {MAX_DEPTH} levels, with its references written out")
        return size, height + 1, steps

    def _references(
        self, value: dict[str, Any], path: tuple[str | int, ...], depth: int
    ) -> Iterator[tuple[int, int, int]]:
        for name in REFUSED:
            if name in value:
                raise Refused((*path, name), "is not supported")
        if path and isinstance(value.get(self._base), str):
            raise Refused((*path, self._base), "is allowed at the top only")
        reference = value.get("$ref")
        if isinstance(reference, str):
            yield self._target(reference, (*path, "$ref"), depth)

    def _target(self, reference: str, path: tuple[str | int, ...], depth: int) -> tuple[int, int, int]:
        if not reference.startswith("#/"):
            raise Refused(path, "must refer to a part of this schema, as #/$defs/name")
        value: Any = self._schema
        for step in reference[2:].split("/"):
            name = step.replace("~1", "/").replace("~0", "~")
            if isinstance(value, list) and name.isascii() and name.isdigit() and int(name) < len(value):
                value = value[int(name)]
            elif isinstance(value, dict) and name in value:
                value = value[name]
            else:
                raise Refused(path, "refers to nothing")
        if id(value) in self._known:
            known = self._known[id(value)]
            if known is None:
                raise Refused(path, "refers to itself")
            return known
        self._known[id(value)] = None
        try:
            found = self._known[id(value)] = self._of(value, path, depth + 1)
        except Refused as refused:
            # A part is looked at in its own place, too. Here the reference is at fault.
            raise Refused(path, refused.detail) from None
        return found
