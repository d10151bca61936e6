"""The text of a refused value: `must be <valid values>, and is <actual value>`.

Bodies are checked at the edge and by operations. A caller sees one form of error. The value itself is never repeated:
it may be long, or a secret.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from decimal import Decimal
from typing import Any

Error = dict[str, str]

ONE_OF = "one of "
OBJECT = "a JSON object"
VALUE = "a JSON value"
FLAG = "true or false"
UUID = "a UUID"
MOMENT = "a date and time with its zone, as 2026-01-31T12:00:00Z"
_PLAIN = re.compile(r"[^\s.\[\]\"\\]+")


def wrong(field: str, value: Any, right: str) -> Error:
    """Return one entry of `errors`."""
    return {"field": field, "detail": must(right, value)}


def must(right: str, value: Any) -> str:
    """Return the detail of a refused value. A null value counts as missing, because null equals absent."""
    came = "none of them" if right.startswith(ONE_OF) and isinstance(value, str) else kind(value)
    return f"must be {right}, and is {came}"


def kind(value: Any) -> str:
    """Describe the actual value in one to four words."""
    match value:
        case None:
            return "missing"
        case bool():
            return "true" if value else "false"
        case str():
            return f"a string of {len(value)} character{'' if len(value) == 1 else 's'}" if value else "an empty string"
        case int() | float():
            # Python refuses to print thousands of digits.
            return f"the number {value}" if abs(value) < 10**18 else "a very large number"
        case Mapping():
            return "an object"
        case list() | tuple():
            return f"an array of {len(value)} item{'' if len(value) == 1 else 's'}" if value else "an empty array"
    return "something else"


def step(path: str, name: str | int) -> str:
    """Return the path of a member or an item: `items[0].due`. A name with special characters is put in brackets."""
    if isinstance(name, int):
        return f"{path}[{name}]"
    if not _PLAIN.fullmatch(name):
        escaped = name.replace("\\", "\\\\").replace('"', '\\"')
        return f'{path}["{escaped}"]'
    return f"{path}.{name}" if path else name


def string(most: int | None = None, least: int = 0) -> str:
    """Describe a valid text, in characters."""
    return f"a string{_sized(least, most, 'character')}"


def array(most: int | None = None, least: int = 0, of: str = "") -> str:
    """Describe a valid list."""
    return f"an array{_sized(least, most, of or 'item')}" if least or most or not of else f"an array of {of}s"


def whole(least: Any = None, most: Any = None) -> str:
    """Describe a valid whole number."""
    return f"a whole number{_ranged(least, most)}"


def number(least: Any = None, most: Any = None, unit: str = "number") -> str:
    """Describe a valid number."""
    return f"a {unit}{_ranged(least, most)}"


def one_of(words: Iterable[Any]) -> str:
    """Describe a valid word."""
    return ONE_OF + ", ".join(map(str, words))


def _sized(least: int, most: int | None, unit: str) -> str:
    if most is None:
        return f" of at least {least} {unit}{'' if least == 1 else 's'}" if least else ""
    return f" of {least} to {most} {unit}s" if least else f" of at most {most} {unit}s"


def _ranged(least: Any, most: Any) -> str:
    if least is None:
        return "" if most is None else f" of at most {_short(most)}"
    return f" of at least {_short(least)}" if most is None else f" from {_short(least)} to {_short(most)}"


def _short(value: Any) -> str:
    return str(int(value)) if isinstance(value, int | float | Decimal) and value == int(value) else str(value)


def paths(path: str, detail: Any) -> Iterator[tuple[str, Any]]:
    """Yield each leaf of DRF's nested details with its path."""
    if isinstance(detail, Mapping):
        for name, inner in detail.items():
            yield from paths(step(path, name), inner)
    elif isinstance(detail, list):
        for inner in detail:
            yield from paths(path, inner)
    else:
        yield path, detail
