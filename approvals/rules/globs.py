"""Globs: `*` stands for any text, also an empty one, and every other character for itself.

A match takes time linear in the text: each part between two `*` is searched once, from where the one before it ended.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

MAX_STARS = 16


@dataclass(frozen=True, slots=True)
class Glob:
    """One compiled glob."""

    head: str
    middle: tuple[str, ...]
    #: None: the whole text must be `head`.
    tail: str | None

    def matches(self, text: str) -> bool:
        """Return True if the glob matches the whole text."""
        if self.tail is None:
            return text == self.head
        end = len(text) - len(self.tail)
        if end < len(self.head) or not text.startswith(self.head) or not text.endswith(self.tail):
            return False
        at = len(self.head)
        for part in self.middle:
            found = text.find(part, at, end)
            if found < 0:
                return False
            at = found + len(part)
        return True


def compiled(glob: str) -> Glob:
    """Compile a glob."""
    head, *others = glob.split("*")
    if not others:
        return Glob(head, (), None)
    *middle, tail = others
    return Glob(head, tuple(part for part in middle if part), tail)


def any_matches(globs: Iterable[Glob], text: str) -> bool:
    """Return True if one of the globs matches."""
    return any(glob.matches(text) for glob in globs)


def is_exact(glob: str) -> bool:
    """Return True if it matches one text only."""
    return "*" not in glob


def check(glob: str) -> str | None:
    """Return the fault of a glob, or None."""
    return f"has more than {MAX_STARS} `*`" if glob.count("*") > MAX_STARS else None
