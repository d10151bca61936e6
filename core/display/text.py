"""How text from agents, senders and strangers is shown: by one function, on every surface.

Nothing here changes what is stored or hashed; it only decides what a person sees. A character that would show
as nothing, as plain space, or would reorder its neighbours is written as `\\u{...}`, its code point in hex.
"""

import functools
import json
import re
import unicodedata
from collections.abc import Iterable
from typing import Any, NamedTuple

# Default_Ignorable_Code_Point of Unicode's DerivedCoreProperties, which the standard library does not carry.
_IGNORABLE = (
    (0x00AD, 0x00AD), (0x034F, 0x034F), (0x061C, 0x061C), (0x115F, 0x1160), (0x17B4, 0x17B5),
    (0x180B, 0x180F), (0x200B, 0x200F), (0x202A, 0x202E), (0x2060, 0x206F), (0x3164, 0x3164),
    (0xFE00, 0xFE0F), (0xFEFF, 0xFEFF), (0xFFA0, 0xFFA0), (0xFFF0, 0xFFF8), (0x1BCA0, 0x1BCA3),
    (0x1D173, 0x1D17A), (0xE0000, 0xE0FFF),
)  # fmt: skip
# Blank to the eye though Unicode calls them symbols or marks: Braille blank, null notehead, Khitan filler.
_BLANK = frozenset({0x2800, 0x1D159, 0x16FE4})
_HIDDEN_CATEGORIES = frozenset({"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp", "Zs"})
_OVERLAY = 1  # the combining class of strokes through a letter: they cross text out
_RIGHT_TO_LEFT = frozenset({"R", "AL", "AN"})
_MARKS_PER_LETTER = 4  # more than any living orthography needs; beyond it, marks climb over the lines around

_HIDDEN, _MARK, _LETTER, _OTHER = range(4)


def visible(text: str, *, lines: bool = False) -> str:
    """`text` with every invisible, reordering or floating character as `\\u{...}`.

    `lines` keeps newline and tab real, for views of several lines.
    The answer never means two things: a literal `\\u{` in the text has its backslash escaped too.
    """
    if text.isascii() and text.isprintable() and "\\u{" not in text:
        return text
    shown = []
    room = 0  # how many more marks the letter before may carry
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
    """A JSON value as indented visible text, in its own key order; what JSON does not know shows as text."""
    return visible(json.dumps(value, ensure_ascii=False, indent=2, default=str), lines=True)


def shortened(text: str, limit: int = 120) -> str:
    """One visible line of at most `limit` characters of `text`, and how many were left out."""
    rest = len(text) - limit
    return visible(text) if rest <= 0 else f"{visible(text[:limit])}… ({rest} more characters)"


def turns(text: str) -> bool:
    """Whether letters of `text` run from right to left, and so turn the digits and signs around them on the screen."""
    return not text.isascii() and any(unicodedata.bidirectional(character) in _RIGHT_TO_LEFT for character in text)


class MixedToken(NamedTuple):
    """A word whose letters come from several scripts, so that it may read as another word."""

    token: str
    scripts: tuple[str, ...]

    def __str__(self) -> str:
        return f"{visible(self.token)} mixes {' and '.join(self.scripts)}"


def mixed_scripts(text: str) -> list[MixedToken]:
    """The words of `text` that mix scripts, each once, in order: `paypal` with a Cyrillic a, say."""
    if text.isascii():
        return []
    tokens = dict.fromkeys(re.findall(r"\w+", text))
    found = ((token, tuple(sorted(_scripts(token)))) for token in tokens if not token.isascii())
    return [MixedToken(token, scripts) for token, scripts in found if len(scripts) > 1]


# Letters that look like a Latin one in most fonts: Cyrillic and Greek.
_LATIN_LOOKS = str.maketrans("абвгдеорсухіјѕԁһԛԝαβεικνορτυχ", "a6brдeopcyxijsdhqwaβeiκvoptux")


def alike(names: Iterable[str]) -> list[tuple[str, str]]:
    """Pairs of different names that a reader may take for one: by whitespace, case, hidden or look-alike letters."""
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
    code, category = ord(character), unicodedata.category(character)
    if character == " ":
        return _OTHER
    if category in _HIDDEN_CATEGORIES or code in _BLANK or any(low <= code <= high for low, high in _IGNORABLE):
        return _HIDDEN
    if category[0] == "M":
        floats = category == "Me" or unicodedata.combining(character) == _OVERLAY
        return _HIDDEN if floats else _MARK
    return _LETTER if category[0] == "L" else _OTHER


# Writing systems that ordinary words do mix, and letters that belong to none.
_TOGETHER = {
    "HIRAGANA": "CJK",
    "KATAKANA": "CJK",
    "HALFWIDTH": "CJK",
    "HANGUL": "CJK",
    "BOPOMOFO": "CJK",
    "IDEOGRAPHIC": "CJK",
}
_NEUTRAL = frozenset({"MICRO", "FEMININE", "MASCULINE", "MODIFIER"})


def _scripts(token: str) -> set[str]:
    """The scripts of a token's letters, by the first word of each letter's name."""
    first = {unicodedata.name(c, "UNNAMED").split()[0].split("-")[0] for c in token if c.isalpha()}
    return {_TOGETHER.get(word, word).capitalize() for word in first - _NEUTRAL}
