"""Names that people compare by eye, such as ids and addresses. Except for spaces, a name has no invisible character.

One pattern checks names here and describes them in the OpenAPI document. It lists ranges, not categories: categories
change with each edition of Unicode, and no two regular expression engines know the same edition.
"""

from __future__ import annotations

import re

#: Controls, blanks except the space, format and ignorable characters, private use, and planes without letters.
_UNSEEN = (
    (0x00, 0x1F), (0x7F, 0xA0), (0xAD, 0xAD), (0x600, 0x605), (0x61C, 0x61C), (0x6DD, 0x6DD), (0x70F, 0x70F),
    (0x890, 0x891), (0x8E2, 0x8E2), (0x1680, 0x1680), (0x180E, 0x180E), (0x2000, 0x200F), (0x2028, 0x202F),
    (0x205F, 0x206F), (0x3000, 0x3000), (0xD800, 0xF8FF), (0xFDD0, 0xFDEF), (0xFEFF, 0xFEFF), (0xFFF0, 0xFFFB),
    (0xFFFE, 0xFFFF), (0x110BD, 0x110BD), (0x110CD, 0x110CD), (0x13430, 0x1345F), (0x1BCA0, 0x1BCA3),
    (0x1D173, 0x1D17A), (0xE0000, 0x10FFFF),
)  # fmt: skip


def _written(code: int) -> str:
    # An escape up to FFFF means the same in every engine. Beyond FFFF only the character itself does.
    if code > 0xFFFF:
        return chr(code)
    return f"\\x{code:02x}" if code <= 0xFF else f"\\u{code:04x}"


def _ranges(pairs: tuple[tuple[int, int], ...]) -> str:
    return "".join(_written(low) if low == high else f"{_written(low)}-{_written(high)}" for low, high in pairs)


# JSON Schema engines cannot name a surrogate, and decoded JSON text holds none.
_WITHOUT_SURROGATES = tuple((0xE000 if low == 0xD800 else low, high) for low, high in _UNSEEN)
#: The inside of a character class of all characters that a name may not hold.
UNSEEN = _ranges(_WITHOUT_SURROGATES)
#: A name, as a pattern of JSON Schema.
PATTERN = f"^[^{UNSEEN}]+$"

_SEEN = re.compile(f"[^{_ranges(_UNSEEN)}]+")


def is_name(text: str, longest: int) -> bool:
    """Return True for a valid name: not empty, not too long, and without invisible characters."""
    return 0 < len(text) <= longest and is_visible(text)


def is_visible(text: str) -> bool:
    """Return True when every character except spaces is visible."""
    return text.isprintable() if text.isascii() else _SEEN.fullmatch(text) is not None
