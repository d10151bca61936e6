"""Read `WARDROOM_REDACTION`: further names and patterns of secrets, and names to show.

A pattern of an operator may take exponential time on a hostile text. So each search has a time limit, a text that
exceeds it is hidden as a whole, and a pattern that exceeds it on a trial text stops the start.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import regex
from django.core.exceptions import ImproperlyConfigured

from core.display.secret_patterns import BUILT_IN, Pattern, compact

NAME = "WARDROOM_REDACTION"
ENTRIES = ("names", "patterns", "show")
MOST_ENTRIES, LONGEST_ENTRY = 200, 500
#: Seconds of one search, and of one search at the start.
SEARCH_SECS, TRIAL_SECS = 0.05, 0.5
#: Texts on which a careless pattern takes exponential or at least cubic time.
TRIALS = (
    *(each * 2000 for each in ("a", "a ", "aA1", "0", "1-", "a.", "a@", '"a', "=", " ", "\n", "/a", "é")),
    "a" * 4000 + "!",
    "0" * 4000 + "x",
    "a1" * 2000 + "\n",
)
logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Rules:
    """The names, as `compact` makes them, and the patterns of secrets."""

    names: frozenset[str] = frozenset()
    shown: frozenset[str] = frozenset()
    patterns: tuple[Pattern, ...] = BUILT_IN
    anchors: tuple[str, ...] = field(init=False)

    def __post_init__(self) -> None:
        """Gather the anchors of all patterns."""
        object.__setattr__(self, "anchors", tuple(sorted({one for each in self.patterns for one in each.anchors})))

    def candidates(self, text: str) -> tuple[Pattern, ...]:
        """Return the patterns that may find something in this text: a fast check of a few short words."""
        lower = text.lower()
        found = [anchor for anchor in self.anchors if anchor in lower]
        return tuple(each for each in self.patterns if not set(each.anchors).isdisjoint(found)) if found else ()


def checked(given: Mapping[str, Any]) -> Rules:
    """Return the rules with these settings. Raises ImproperlyConfigured that names the entry."""
    for entry in given:
        if entry not in ENTRIES:
            raise _wrong(f"there is no entry {entry[:60]!r}; use {', '.join(ENTRIES)}")
    patterns = given.get("patterns", {})
    if not isinstance(patterns, dict) or not _are_texts([*patterns, *patterns.values()]):
        raise _wrong("patterns: use an object of a name and a regular expression each")
    for entry in ("names", "show"):
        if not isinstance(given.get(entry, []), list) or not _are_texts(given.get(entry, [])):
            raise _wrong(f"{entry}: use a list of names")
    shown = frozenset(map(compact, given.get("show", [])))
    built_in = {each.name for each in BUILT_IN}
    if taken := sorted(built_in & set(patterns)):
        raise _wrong(f"patterns: {taken[0]!r} is the name of a built-in pattern")
    off = set(given.get("show", [])) & (built_in - {"placeholder"})
    own = tuple(_configured(name, expression) for name, expression in patterns.items())
    kept = tuple(each for each in BUILT_IN if each.name not in off)
    return Rules(frozenset(map(compact, given.get("names", []))), shown, kept + own)


def _configured(name: str, expression: str) -> Pattern:
    try:
        compiled = regex.compile(expression)
        empty = compiled.search("") is not None
        for text in TRIALS:
            for _ in compiled.finditer(text, timeout=TRIAL_SECS):
                pass
    except regex.error as error:
        raise _wrong(f"patterns: {name!r} is no regular expression: {error}") from None
    except TimeoutError:
        raise _wrong(f"patterns: {name!r} takes too long on a text of 4,000 characters; write it simpler") from None
    if empty:
        raise _wrong(f"patterns: {name!r} matches an empty text")

    def spans(text: str) -> Iterable[tuple[int, int]]:
        try:
            matches = list(compiled.finditer(text, timeout=SEARCH_SECS))
        except TimeoutError:
            logger.warning("the redaction pattern %r took too long; the whole text is hidden", name)
            return [(0, len(text))]
        return [found.span(1) if compiled.groups and found[1] else found.span() for found in matches]

    # Every text holds an empty one: an operator's pattern always runs.
    return Pattern(name, ("",), spans)


def _are_texts(value: list[Any]) -> bool:
    right = (isinstance(each, str) and 0 < len(each) <= LONGEST_ENTRY for each in value)
    return len(value) <= MOST_ENTRIES and all(right)


def _wrong(why: str) -> ImproperlyConfigured:
    return ImproperlyConfigured(f"{NAME}: {json.dumps(why)[1:-1]}" if not why.isprintable() else f"{NAME}: {why}")
