"""Check the metadata of a session, and read the watchdog limits from it.

The watchdog reads metadata with every row of every project, so a value out of range is refused at the spawn. A stored
value out of range (it may have come another way) counts as the nearest value that is allowed.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterator, Mapping
from typing import Any

from core.display.text import shortened
from core.limits import LIMITS
from core.web import faults
from wardroom import strict
from wardroom.frames import MAX_INTEGER

PREFIX = "child_watchdog."
#: The most ignored names that one session tells, and the most characters of each.
MOST_IGNORED, LONGEST_NAME = 10, 100
Error = dict[str, str]


@dataclasses.dataclass(frozen=True, slots=True)
class Limits:
    """The check interval of a session, and its limits."""

    check_interval_secs: int
    max_total_secs: int
    max_idle_secs: int


NAMES = tuple(field.name for field in dataclasses.fields(Limits))


def limits(metadata: Mapping[str, Any]) -> Limits:
    """Return the default limits, with the overrides of the session's metadata.

    An override is a positive whole number or its decimal string. It is capped at the bound; any other value counts as
    absent.
    """
    return Limits(*(_override(metadata.get(PREFIX + name)) or getattr(LIMITS, name) for name in NAMES))


def _override(value: Any) -> int | None:
    """Return the number of seconds that a value means, capped at the bound, or None if it means none."""
    most: int = LIMITS.max_watchdog_secs
    if isinstance(value, str):
        digits = _digits(value)
        # Python refuses to parse thousands of digits. Twenty digits are over the bound already.
        value = min(int(digits[:20]), most) if digits else None
    if isinstance(value, float) and value.is_integer():
        value = int(value)  # JSON has one kind of number: 3.0 is 3.
    return min(value, most) if isinstance(value, int) and not isinstance(value, bool) and value > 0 else None


def ignored(metadata: Mapping[str, Any]) -> list[Error]:
    """Return a warning for each entry of the metadata that looks like a watchdog limit and has no effect."""
    found: list[Error] = []
    for key, value in metadata.items():
        if not key.startswith(PREFIX.rstrip(".")) or value is None:
            continue
        name = key.removeprefix(PREFIX)
        if key == PREFIX + name and name in NAMES:
            if _override(value) is not None:
                continue
            wrong = faults.must("a positive whole number, or a string of its digits", value)
            detail = f"{wrong}; the limit of {getattr(LIMITS, name):g} s applies"
        else:
            detail = f"the watchdog's limits are {', '.join(PREFIX + known for known in NAMES)}"
        found.append(_error(f"metadata.{shortened(key, LONGEST_NAME)}", f"is ignored: {detail}"))
        if len(found) == MOST_IGNORED:
            break
    return found


def _digits(text: str) -> str:
    """Return the digits of a decimal string without leading zeros, or an empty string for any other text."""
    trimmed = text.strip()
    return trimmed.lstrip("0") if trimmed.isascii() and trimmed.isdigit() else ""


def errors(metadata: Mapping[str, Any]) -> list[Error]:
    """Return the errors that prevent this metadata from being stored: one for each field."""
    try:
        strict.check(dict(metadata), max_depth=LIMITS.max_depth)
    except strict.StrictJSONError as error:
        return [_error("metadata", error.reason)]
    found: list[Error] = []
    if not all(-MAX_INTEGER <= number <= MAX_INTEGER for number in _numbers(metadata)):
        found.append(_error("metadata", f"a number beyond {MAX_INTEGER}; write it as a string"))
    # Python refuses to write integers of more than 4,300 digits, so a number out of range has no size in bytes.
    elif len(json.dumps(metadata)) > (most := LIMITS.max_metadata_bytes):
        found.append(_error("metadata", f"more than {most} bytes"))
    if _keys(metadata) > (most := LIMITS.max_metadata_keys):
        found.append(_error("metadata", f"more than {most} keys"))
    most = LIMITS.max_watchdog_secs
    for name in NAMES:
        value = metadata.get(PREFIX + name)
        if isinstance(value, str):
            value = int(_digits(value)[:20] or 0)
        if isinstance(value, int | float) and not isinstance(value, bool) and value > most:
            found.append(_error(f"metadata.{PREFIX}{name}", f"more than {most} seconds ({most // 86400} days)"))
    return found


def _numbers(value: Any) -> Iterator[int | float]:
    """Yield every number in the value. The depth is bounded by `strict.check`."""
    if isinstance(value, Mapping):
        value = list(value.values())
    if isinstance(value, list | tuple):
        for item in value:
            yield from _numbers(item)
    elif isinstance(value, int | float) and not isinstance(value, bool):
        yield value


def _keys(value: Any) -> int:
    if isinstance(value, Mapping):
        return len(value) + sum(map(_keys, value.values()))
    return sum(map(_keys, value)) if isinstance(value, list | tuple) else 0


def _error(field: str, detail: str) -> Error:
    return {"field": field, "detail": detail}
