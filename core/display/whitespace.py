"""Replace whitespace that could push text out of sight by its count.

Three thousand empty lines, or a line of twenty thousand spaces, push the rest of a text off the screen. Each such run
becomes one mark that gives its length. No other text is left out.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import NamedTuple

from core.display.text import visible

#: Spaces inside a line, empty lines in a row, and spaces of indentation that are shown unchanged.
MOST_SPACES, MOST_EMPTY_LINES, MOST_INDENT = 8, 2, 40
#: Lines and characters beyond which a text is long: its end may be below the screen.
LONG_LINES, LONG_CHARACTERS = 20, 1500
_RUN = re.compile(r"[ \t\n]+")


class Part(NamedTuple):
    """A piece of a text for staff: the text itself, or a mark that counts whitespace."""

    text: str
    is_mark: bool = False


class Extent(NamedTuple):
    """The length of a text."""

    characters: int
    lines: int

    @property
    def is_long(self) -> bool:
        return self.lines > LONG_LINES or self.characters > LONG_CHARACTERS

    def __str__(self) -> str:
        return f"{_count(self.characters, 'character')} in {_count(self.lines, 'line')}"


def extent(*texts: str) -> Extent:
    """Return the total characters and lines of all these texts."""
    return Extent(sum(map(len, texts)), sum(text.count("\n") + 1 for text in texts))


def parts(text: str) -> list[Part]:
    """Return visible `text` with a mark in place of each run of whitespace that could hide the text after it."""
    shown, found, done = visible(text, lines=True), list[Part](), 0
    for run in _RUN.finditer(shown):
        marked = list(_marked(run[0], starts=run.start() == 0, ends=run.end() == len(shown)))
        if any(part.is_mark for part in marked):
            found += [Part(shown[done : run.start()]), *marked]
            done = run.end()
    return [part for part in [*found, Part(shown[done:])] if part.text]


def _marked(run: str, *, starts: bool, ends: bool) -> Iterator[Part]:
    """Yield the parts of one maximal run of spaces, tabs and newlines."""
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
