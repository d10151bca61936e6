"""Text of others as people see it."""

import sys
import time
import unicodedata
from datetime import UTC, datetime
from typing import Any

import pytest
from django.utils.formats import localize
from django.utils.timezone import localtime

from core.display.text import mixed_scripts, shortened, turns, visible, visible_json

pytestmark = pytest.mark.once

HIDDEN = {"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp", "Zs"}
# Written again by hand, from the standard's table: default-ignorable characters that no category gives away.
IGNORABLE_LETTERS_AND_MARKS = [
    0x34F,
    0x115F,
    0x1160,
    0x17B4,
    0x17B5,
    0x180B,
    0x180C,
    0x180D,
    0x180F,
    0x3164,
    0xFFA0,
]
VARIATION_SELECTORS = [*range(0xFE00, 0xFE10), *range(0xE0100, 0xE01F0)]


def test_every_character_of_unicode_is_shown_as_itself_or_as_its_escape_within_ten_seconds() -> None:
    started = time.process_time()
    for code in range(sys.maxunicode + 1):
        character = chr(code)
        shown = visible(f"a{character}b")
        escaped = f"a\\u{{{code:x}}}b"
        must = unicodedata.category(character) in HIDDEN and character != " "
        assert shown == escaped if must else shown in (f"a{character}b", escaped), hex(code)
    assert time.process_time() - started < 10


@pytest.mark.parametrize("code", [*IGNORABLE_LETTERS_AND_MARKS, *VARIATION_SELECTORS, 0x2800], ids=hex)
def test_characters_that_show_as_nothing_are_escaped_though_they_are_letters_or_marks(code: Any) -> None:
    assert visible(f"a{chr(code)}b") == f"a\\u{{{code:x}}}b"


@pytest.mark.parametrize("code", [0x20, 0x41, 0x7E, 0xE9, 0x416, 0x4E2D, 0x1F600, 0xFFFD], ids=hex)
def test_ordinary_characters_are_left_alone(code: int) -> None:
    assert visible(f"a{chr(code)}b") == f"a{chr(code)}b"


def test_newline_and_tab_stay_real_only_where_lines_are_shown_and_a_carriage_return_never() -> None:
    assert visible("a\n\tb\r") == "a\\u{a}\\u{9}b\\u{d}"
    assert visible("a\n\tb\r\n", lines=True) == "a\n\tb\\u{d}\n"


def test_a_literal_escape_cannot_pass_for_a_real_one() -> None:
    assert visible("\\u{202e}") == "\\u{5c}u{202e}"
    assert visible("\\u{202e}") != visible("\u202e")
    assert visible("C:\\users\\u") == "C:\\users\\u"


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("\u0301a", "\\u{301}a"),
        ("rm \u0301-rf", "rm \\u{301}-rf"),
        ("\u200b\u0301", "\\u{200b}\\u{301}"),
        ("1\u0301", "1\\u{301}"),
        ("e\u0301", "e\u0301"),
        ("n\u0336o\u0336", "n\\u{336}o\\u{336}"),
        ("a" + "\u0301" * 6, "a" + "\u0301" * 4 + "\\u{301}" * 2),
        ("क्षि", "क्षि"),
    ],
)
def test_marks_without_a_letter_strokes_through_letters_and_towers_of_marks_are_escaped(text: str, shown: str) -> None:
    assert visible(text) == shown


def test_lone_surrogates_become_text_that_can_be_encoded() -> None:
    assert visible("a\ud800b").encode() == b"a\\u{d800}b"


def test_json_keeps_its_order_and_hides_nothing() -> None:
    shown = visible_json({"b": "x\u202ey", "a": ["\x1b[31m", "é", "\x7f"]})
    assert shown.index('"b"') < shown.index('"a"')
    assert "x\\u{202e}y" in shown and "\\u001b[31m" in shown and "é" in shown and "\\u{7f}" in shown


def test_a_shortened_text_says_how_much_it_left_out() -> None:
    assert shortened("abc", 3) == "abc"
    assert shortened("abc\u200bdef", 4) == "abc\\u{200b}… (3 more characters)"


@pytest.mark.parametrize("word", ["p\u0430ypal", "g\u043e\u043egle", "\uff52m", "\u0391pple"])
def test_a_word_of_several_scripts_is_warned_of(word: str) -> None:
    (found,) = mixed_scripts(f"open {word} now, {word}")
    assert found.token == word
    assert "Latin" in found.scripts


@pytest.mark.parametrize(
    "text", ["plain words", "Жизнь and life", "日本語カタカナひらがな", "naïve 5µm", "µm x²", "нет"]
)
def test_words_of_one_script_are_not_warned_of(text: str) -> None:
    assert mixed_scripts(text) == []


@pytest.mark.parametrize(("text", "said"), [("mv 1 2", False), ("mv é 漢 2", False), ("mv א 1 2 ב", True), ("م", True)])
def test_letters_that_turn_their_neighbours_are_noticed(text: str, said: bool) -> None:
    assert turns(text) is said


def test_a_time_on_a_page_says_that_it_is_utc() -> None:
    at = datetime(2026, 3, 1, 23, 5, 9, tzinfo=UTC)
    assert localize(localtime(at)) == "2026-03-01 23:05:09 UTC"
