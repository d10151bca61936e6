"""The places in which an edit changed an argument: its members and items, at any depth, within bounds."""

from __future__ import annotations

import functools
import json
from collections.abc import Iterator
from dataclasses import dataclass
from difflib import SequenceMatcher
from itertools import islice, zip_longest
from typing import Any

from core.web import faults

#: The places that are listed, the depth below which a value is compared whole, and the items that are aligned.
MOST, DEEPEST, MOST_ALIGNED = 50, 12, 200
_ABSENT: Any = object()


@dataclass(frozen=True, slots=True)
class Difference:
    """One place. `mark` is `changed`, `added` or `removed`; the values are JSON, or empty where there is none."""

    place: str
    mark: str
    before: str
    after: str


def between(before: Any, after: Any) -> list[Difference]:
    """List the places in which two JSON values differ, at most `MOST` and one more, which says that there are more.

    Items of a list are aligned, so that one that was put in front leaves the others as they are. Two values that are
    no containers of the same kind have no places: the whole is the difference.
    """
    if not _are_alike(before, after):
        return []
    return [
        Difference(
            functools.reduce(faults.step, path, ""),
            "added" if old is _ABSENT else "removed" if new is _ABSENT else "changed",
            _json(old),
            _json(new),
        )
        for path, old, new in islice(_walk(before, after, ()), MOST + 1)
    ]


def _walk(before: Any, after: Any, path: tuple[Any, ...]) -> Iterator[tuple[tuple[Any, ...], Any, Any]]:
    """Yield the path of each difference with the values there. An item has the number that it has afterwards."""
    if before is after or (_ABSENT not in (before, after) and _json(before) == _json(after)):
        return
    if not _are_alike(before, after) or len(path) >= DEEPEST:
        yield path, before, after
    elif isinstance(before, dict):
        for name in dict.fromkeys([*before, *after]):
            yield from _walk(before.get(name, _ABSENT), after.get(name, _ABSENT), (*path, name))
    else:
        for number, old, new in _pairs(before, after):
            yield from _walk(old, new, (*path, number))


def _pairs(before: list[Any], after: list[Any]) -> Iterator[tuple[int, Any, Any]]:
    if max(len(before), len(after)) > MOST_ALIGNED:
        for number, (old, new) in enumerate(zip_longest(before, after, fillvalue=_ABSENT)):
            yield number, old, new
        return
    matcher = SequenceMatcher(None, [*map(_json, before)], [*map(_json, after)], autojunk=False)
    for kind, old_from, old_to, new_from, new_to in matcher.get_opcodes():
        if kind != "equal":
            together = zip_longest(before[old_from:old_to], after[new_from:new_to], fillvalue=_ABSENT)
            for ahead, (old, new) in enumerate(together):
                yield (old_from if new is _ABSENT else new_from) + ahead, old, new


def _are_alike(before: Any, after: Any) -> bool:
    return any(isinstance(before, kind) and isinstance(after, kind) for kind in (dict, list))


def _json(value: Any) -> str:
    return "" if value is _ABSENT else json.dumps(value, ensure_ascii=False, sort_keys=True)
