"""Display text from agents, senders and strangers: one function for every surface.

Nothing here changes stored or hashed text; it only decides the view. A character that would show as nothing or as plain
space, or would reorder its neighbours, is written as `\\u{...}` with its code point in hex.
"""

import functools
import json
import re
import unicodedata
from collections.abc import Iterable
from typing import Any, NamedTuple

import regex

# Characters that show as nothing though their category is a letter's or a mark's. Only the category is asked of the
# standard library: the two know different editions of Unicode, and `visible` must not differ from other checks here.
_IGNORABLE = regex.compile(r"\p{Default_Ignorable_Code_Point}")
# Blank to the eye, though Unicode calls them symbols or marks: Braille blank, null notehead, Khitan filler.
_BLANK = frozenset({0x2800, 0x1D159, 0x16FE4})
_HIDDEN_CATEGORIES = frozenset({"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp", "Zs"})
_OVERLAY = 1  # the combining class of strokes through a letter: they cross text out
_RIGHT_TO_LEFT = frozenset({"R", "AL", "AN"})
_MARKS_PER_LETTER = 4  # more than any living orthography needs; further marks would cover the lines around

_HIDDEN, _MARK, _LETTER, _OTHER = range(4)


def visible(text: str, *, lines: bool = False) -> str:
    """Return `text` with every invisible, reordering or floating character as `\\u{...}`.

    `lines` keeps newline and tab unchanged, for views of several lines. The result is unambiguous: a literal `\\u{` in
    the text gets its backslash escaped too.
    """
    if text.isascii() and text.isprintable() and "\\u{" not in text:
        return text
    shown = []
    room = 0  # marks that the letter before may still carry
    for at, character in enumerate(text):
        kind = _kind(character)
        if kind == _MARK:
            shown.append(character if room > 0 else _escape(character))
            room -= 1
            continue
        room = _MARKS_PER_LETTER if kind == _LETTER else 0
        keep = character in "\n\t" and lines if kind == _HIDDEN else not text.startswith("\\u{", at)
        shown.append(character if keep else _escape(character))
    return "".join(shown)


def visible_json(value: Any) -> str:
    """Return a JSON value as indented visible text, in its own key order. Values unknown to JSON become text."""
    return visible(json.dumps(value, ensure_ascii=False, indent=2, default=str), lines=True)


def shortened(text: str, limit: int = 120) -> str:
    """Return one visible line of at most `limit` characters of `text`, and the number of characters left out."""
    rest = len(text) - limit
    return visible(text) if rest <= 0 else f"{visible(text[:limit])}… ({rest} more characters)"


def turns(text: str) -> bool:
    """Return True when letters of `text` run right to left. They reorder digits and signs around them on screen."""
    return not text.isascii() and any(unicodedata.bidirectional(character) in _RIGHT_TO_LEFT for character in text)


class MixedToken(NamedTuple):
    """A word with letters from several scripts, so that it may read as another word."""

    token: str
    scripts: tuple[str, ...]

    def __str__(self) -> str:
        return f"{visible(self.token)} mixes {' and '.join(self.scripts)}"


# Scripts that ordinary words do mix, and letters that belong to no script.
_TOGETHER = {
    "HIRAGANA": "CJK",
    "KATAKANA": "CJK",
    "HALFWIDTH": "CJK",
    "HANGUL": "CJK",
    "BOPOMOFO": "CJK",
    "IDEOGRAPHIC": "CJK",
}
_NEUTRAL = frozenset({"MICRO", "FEMININE", "MASCULINE", "MODIFIER"})


def mixed_scripts(text: str) -> list[MixedToken]:
    """Return the words of `text` that mix scripts, each once, in order. An example is `paypal` with a Cyrillic a."""
    if text.isascii():
        return []
    found = []
    for token in dict.fromkeys(re.findall(r"\w+", text)):
        if token.isascii():
            continue
        # The first word of a letter's Unicode name is its script.
        first = {unicodedata.name(c, "UNNAMED").split()[0].split("-")[0] for c in token if c.isalpha()}
        scripts = {_TOGETHER.get(word, word).capitalize() for word in first - _NEUTRAL}
        if len(scripts) > 1:
            found.append(MixedToken(token, tuple(sorted(scripts))))
    return found


# Cyrillic and Greek letters that look like a Latin one in most fonts.
_LATIN_LOOKS = str.maketrans("абвгдеорсухіјѕԁһԛԝαβεικνορτυχ", "a6brдeopcyxijsdhqwaβeiκvoptux")


def alike(names: Iterable[str]) -> list[tuple[str, str]]:
    """Return pairs of different names that look the same: by whitespace, case, hidden or look-alike letters."""
    first: dict[str, str] = {}
    found = []
    for name in names:
        seen = "".join(c for c in name if not c.isspace() and _kind(c) != _HIDDEN)
        key = unicodedata.normalize("NFKC", seen).casefold().translate(_LATIN_LOOKS)
        if first.setdefault(key, name) != name:
            found.append((first[key], name))
    return found


def _escape(character: str) -> str:
    return f"\\u{{{ord(character):x}}}"


@functools.lru_cache(maxsize=8192)
def _kind(character: str) -> int:
    category = unicodedata.category(character)
    if character == " ":
        return _OTHER
    if category in _HIDDEN_CATEGORIES or ord(character) in _BLANK or _IGNORABLE.match(character):
        return _HIDDEN
    if category[0] == "M":
        floats = category == "Me" or unicodedata.combining(character) == _OVERLAY
        return _HIDDEN if floats else _MARK
    return _LETTER if category[0] == "L" else _OTHER
