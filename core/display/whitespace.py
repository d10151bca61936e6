"""Whitespace that could push text out of sight, shown as a count in its place.

Three thousand empty lines, or a line of twenty thousand spaces, put what follows them on no screen. Nothing is left
out: each run that could do so becomes one mark that says how long it is.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import NamedTuple

from core.display.text import visible

#: Up to so many spaces inside a line, empty lines in a row, and spaces of indentation are shown as they are.
MOST_SPACES, MOST_EMPTY_LINES, MOST_INDENT = 8, 2, 40
#: A text of more lines or characters is long: its end may be below the screen.
LONG_LINES, LONG_CHARACTERS = 20, 1500
_RUN = re.compile(r"[ \t\n]+")


class Part(NamedTuple):
    """A piece of a text as staff see it: the text itself, or a mark that counts whitespace."""

    text: str
    is_mark: bool = False


class Extent(NamedTuple):
    """How long a text is."""

    characters: int
    lines: int

    @property
    def is_long(self) -> bool:
        return self.lines > LONG_LINES or self.characters > LONG_CHARACTERS

    def __str__(self) -> str:
        return f"{_count(self.characters, 'character')} in {_count(self.lines, 'line')}"


def extent(*texts: str) -> Extent:
    """The characters and lines of all these texts together."""
    return Extent(sum(map(len, texts)), sum(text.count("\n") + 1 for text in texts))


def parts(text: str) -> list[Part]:
    """`text`, visible, with a mark in place of each run of whitespace that could hide what follows it."""
    shown, found, done = visible(text, lines=True), list[Part](), 0
    for run in _RUN.finditer(shown):
        marked = list(_marked(run[0], starts=run.start() == 0, ends=run.end() == len(shown)))
        if any(part.is_mark for part in marked):
            found += [Part(shown[done : run.start()]), *marked]
            done = run.end()
    return [part for part in [*found, Part(shown[done:])] if part.text]


def _marked(run: str, *, starts: bool, ends: bool) -> Iterator[Part]:
    """One maximal run of spaces, tabs and newlines."""
    before, *empty, indent = run.split("\n") if "\n" in run else (run, "")
    if "\n" not in run:
        is_plain = not ends and len(run) <= (MOST_INDENT if starts else MOST_SPACES)
        yield Part(run) if is_plain else _spaces(run)
        return
    if before:
        yield _spaces(before)
    yield Part("\n")
    if len(empty) > MOST_EMPTY_LINES or any(empty):
        yield Part(_count(len(empty), "empty line"), is_mark=True)
        yield Part("\n")
    else:
        yield Part("\n" * len(empty))
    if indent:
        yield Part(indent) if len(indent) <= MOST_INDENT and not ends else _spaces(indent)


def _spaces(run: str) -> Part:
    tabs = run.count("\t")
    words = [_count(len(run) - tabs, "space")] if tabs < len(run) else []
    return Part(", ".join([*words, *([_count(tabs, "tab")] if tabs else [])]), is_mark=True)


def _count(number: int, word: str) -> str:
    return f"{number:,} {word}{'' if number == 1 else 's'}"
