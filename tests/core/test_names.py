"""The characters of a name, and the same pattern in the OpenAPI document."""

import re
from typing import Any

import pytest

from core.display.names import PATTERN, is_name
from core.web.problems import Problem
from mailbox import addresses

pytestmark = pytest.mark.once


@pytest.mark.parametrize("text", ["a", "a b", "é", "名前", "a/b", "👩‍🚀"[0], "x" * 256, "\u0378"])
def test_a_name_is_anything_that_is_seen(text: Any) -> None:
    assert is_name(text, 256)
    assert re.search(PATTERN, text)


@pytest.mark.parametrize(
    "text",
    ["", "\n", "a\x00", "\x7f", "\xa0", "\xad", "a\u200bb", "\u2028", "\u202e", "\ue000", "\ufeff", "\U000e0041"],
)
def test_nothing_in_a_name_is_invisible(text: str) -> None:
    assert not is_name(text, 256)
    assert not re.search(PATTERN, text)


def test_a_name_is_at_most_so_long() -> None:
    assert not is_name("x" * 257, 256)


def test_the_pattern_and_the_check_agree_on_every_character() -> None:
    checked = re.compile(PATTERN)
    codes = (code for code in range(0x110000) if not 0xD800 <= code <= 0xDFFF)
    assert [code for code in codes if bool(checked.search(chr(code))) != is_name(chr(code), 1)] == []
    assert not is_name("\ud800", 1)


@pytest.mark.parametrize(
    "address",
    ["desk", "session:", "session:abc", "a b", "a/b", "é", f"session:{'0' * 8}", f"session:{'A' * 32}", "wardroom:x"],
)
def test_an_address_is_what_its_pattern_says(address: str) -> None:
    try:
        addresses.check(address)
        is_taken = True
    except Problem:
        is_taken = False
    assert is_taken == bool(re.search(addresses.PATTERN, address))
