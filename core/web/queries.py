"""Check the query of a call: only known parameters, each once, each within its bounds.

Ignoring a misspelt filter would give a wider answer than the caller asked for.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Collection, Iterable, Mapping
from typing import Any
from uuid import UUID

from core.web import problems
from core.web.paths import uuid_of

UNKNOWN = "is no parameter of this call"
#: The most parameters that one refusal names, and the most characters of each name.
MOST_NAMED, LONGEST_NAME = 20, 100
#: A number of seconds. JSON writers give tiny numbers a negative exponent. A positive exponent is refused as a mistake.
_NUMBER = re.compile(r"[0-9]{1,20}(\.[0-9]{0,20})?([eE]-[0-9]{1,3})?")


def check(given: Iterable[tuple[str, str]], known: Collection[str]) -> None:
    """Raise invalid for an unknown or repeated parameter."""
    times = Counter(name for name, _ in given)
    wrong = {name: UNKNOWN if name not in known else "is given twice" for name in times}
    errors = [refused(name, why) for name, why in wrong.items() if name not in known or times[name] > 1]
    if errors:
        raise invalid(errors[:MOST_NAMED])


def refused(name: str, why: str) -> dict[str, str]:
    """Return one entry of `errors`."""
    return {"field": name[:LONGEST_NAME], "detail": why}


def whole(params: Mapping[str, Any], name: str, *, least: int, most: int) -> int | None:
    """Return a whole number within its bounds, or None when it is not given. Raises invalid."""
    raw = params.get(name)
    if raw is None:
        return None
    # Check the length first: Python refuses to read thousands of digits.
    if raw.isascii() and raw.isdigit() and len(raw) <= len(str(most)) and least <= int(raw) <= most:
        return int(raw)
    raise invalid([refused(name, f"must be a whole number from {least} to {most}")])


def seconds(params: Mapping[str, Any], name: str, *, most: int) -> float | None:
    """Return a number of seconds, or None when it is not given. Raises invalid."""
    raw = params.get(name)
    if raw is None:
        return None
    if _NUMBER.fullmatch(raw) and float(raw) <= most:
        return float(raw)
    raise invalid([refused(name, f"must be a number of seconds from 0 to {most}")])


def uuid(params: Mapping[str, Any], name: str) -> UUID | None:
    """Return a UUID, or None when it is not given. Raises invalid."""
    raw = params.get(name)
    if raw is None:
        return None
    found = uuid_of(raw)
    if found is None:
        raise invalid([refused(name, "must be a UUID")])
    return found


def words(params: Mapping[str, Any], name: str, known: Collection[str]) -> list[str] | None:
    """Return comma-separated words, or None when they are not given. Raises invalid for a word outside `known`."""
    raw = params.get(name)
    if raw is None:
        return None
    found = raw.split(",")
    if not set(found) <= set(known):
        raise invalid([refused(name, f"must be some of {', '.join(known)}, separated by commas")])
    return list(dict.fromkeys(found))


def word(params: Mapping[str, Any], name: str, known: Collection[str]) -> str | None:
    """Return one word, or None when it is not given. Raises invalid for a word outside `known`."""
    raw = params.get(name)
    if raw is not None and raw not in known:
        raise invalid([refused(name, f"must be one of {', '.join(known)}")])
    return raw


def flag(params: Mapping[str, Any], name: str) -> bool:
    """Return True when the flag is given and true. Raises invalid unless it is true or false."""
    return word(params, name, ("true", "false", "1", "0")) in ("true", "1")


def text(params: Mapping[str, Any], name: str) -> str | None:
    """Return a text, or None when it is not given. Raises invalid for a NUL, which PostgreSQL cannot compare with."""
    raw = params.get(name)
    if raw is not None and "\0" in raw:
        raise invalid([refused(name, "holds a NUL character")])
    return raw


def invalid(errors: list[dict[str, str]]) -> problems.Problem:
    """Return a 422 for a query. `field` of each error is the name of a parameter."""
    return problems.invalid(errors, "The query is not valid.")
