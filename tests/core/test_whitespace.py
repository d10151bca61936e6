"""Whitespace that could hide text is counted in its place. Nothing else changes."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.display.text import alike, visible
from core.display.whitespace import Part, extent, parts

pytestmark = pytest.mark.once


def shown(text: str) -> str:
    """The parts in one line, with marks in brackets."""
    return "".join(f"[{part.text}]" if part.is_mark else part.text for part in parts(text))


@pytest.mark.parametrize(
    ("text", "seen"),
    [
        ("echo hello" + "\n" * 3000 + "rm -rf /", "echo hello\n[2,999 empty lines]\nrm -rf /"),
        ("echo hello" + " " * 20_000 + "rm -rf /", "echo hello[20,000 spaces]rm -rf /"),
        ("a" + "\t" * 50 + "b", "a[50 tabs]b"),
        ("a \t b" + " " * 5 + "\t" * 7 + "c", "a \t b[5 spaces, 7 tabs]c"),
        ("a   \nb", "a[3 spaces]\nb"),
        ("a\nb ", "a\nb[1 space]"),
        ("a\n" + " " * 4 + "b", "a\n    b"),
        ("a\n" + " " * 500 + "b", "a\n[500 spaces]b"),
        ("a\n\n\nb", "a\n\n\nb"),
        ("a\n\n\n\nb", "a\n[3 empty lines]\nb"),
        ("a\n \nb", "a\n[1 empty line]\nb"),
        ("\n\n\n\nb", "\n[3 empty lines]\nb"),
        ("    a", "    a"),
        ("plain", "plain"),
        ("", ""),
    ],
)
def test_runs_are_counted_where_they_could_hide_what_follows(text: str, seen: str) -> None:
    assert shown(text) == seen


@given(st.text(alphabet=" \t\nab\u00a0\u2028\r", max_size=200))
def test_nothing_but_whitespace_is_ever_replaced(text: str) -> None:
    found = parts(text)
    assert re.sub(r"[ \t\n]", "", "".join(part.text for part in found if not part.is_mark)) == re.sub(
        r"[ \t\n]", "", visible(text, lines=True)
    )
    plain = "".join(part.text for part in found if not part.is_mark)
    assert "\n\n\n\n" not in plain
    assert not re.search(r"\S {9,}\S", plain)


def test_a_quarter_of_a_megabyte_of_whitespace_is_one_mark() -> None:
    assert parts(" " * 262_144) == [Part("262,144 spaces", is_mark=True)]
    assert len(parts("a" + " \n" * 131_072 + "b")) == 6


def test_how_long_a_text_is() -> None:
    assert str(extent("a\nb", "c")) == "4 characters in 3 lines"
    assert extent("x" * 1501).is_long
    assert extent("\n" * 20).is_long
    assert not extent("x\n" * 10).is_long


@pytest.mark.parametrize(
    ("names", "pairs"),
    [
        (["command", "command "], [("command", "command ")]),
        (["command", "\u0441ommand"], [("command", "\u0441ommand")]),
        (["path", "Path"], [("path", "Path")]),
        (["a", "a\u200b", "b"], [("a", "a\u200b")]),
        (["command", "commands"], []),
        ([], []),
    ],
)
def test_names_that_look_alike_are_found(names: list[str], pairs: list[tuple[str, str]]) -> None:
    assert alike(names) == pairs
