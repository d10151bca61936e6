"""Safe views of bytes that could not be read: as text, as JSON up to the fault, and byte by byte."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass

from core.display.text import visible

#: The limits of a page. The full bytes can be downloaded.
TEXT_BYTES = 64 * 1024
JSON_BYTES = 1024 * 1024
HEX_BYTES = 4 * 1024
JSON_LINES = 2000
_DEEPEST = 24  # levels that are still indented further

_SIGN = re.compile(r'"(?:[^"\\\x00-\x1f]|\\.)*"|-?\d+(?:\.\d+)?(?:[eE][+-]?\d+)?|true|false|null|[][{}:,]', re.DOTALL)
_SPACE = re.compile(r"[ \t\r\n]*")


@dataclass(frozen=True, slots=True)
class Look:
    """The three views, each as visible text for a <pre>, and the number of bytes that each leaves out."""

    text: str
    json: str
    broke_at: int | None
    hex: str
    size: int
    text_rest: int
    hex_rest: int


def look(raw: bytes) -> Look:
    """Return the views. They exist for every byte string."""
    pretty, broke_at = reindented(decoded(raw[:JSON_BYTES]))
    return Look(
        text=visible(decoded(raw[:TEXT_BYTES]), lines=True),
        json=visible(pretty, lines=True),
        broke_at=broke_at,
        hex=hexdump(raw[:HEX_BYTES]),
        size=len(raw),
        text_rest=max(0, len(raw) - TEXT_BYTES),
        hex_rest=max(0, len(raw) - HEX_BYTES),
    )


def decoded(raw: bytes) -> str:
    """Decode UTF-8. An invalid byte is shown as `\\xff`."""
    return raw.decode("utf-8", errors="backslashreplace")


def editable(text: str) -> str:
    """Return a copy to edit in a browser: equivalent JSON, with every hidden character as its JSON escape."""
    # Each distinct character is checked once, however often it occurs.
    shown = {each: each if each in "\r\n\t" or visible(each) == each else json.dumps(each)[1:-1] for each in set(text)}
    return "".join(map(shown.__getitem__, text))


def hexdump(raw: bytes) -> str:
    """Return sixteen bytes a line: the offset, the bytes, and the printable characters."""
    lines = []
    for start in range(0, len(raw), 16):
        row = raw[start : start + 16]
        shown = "".join(chr(byte) if 32 <= byte < 127 else "." for byte in row)
        lines.append(f"{start:08x}  {row.hex(' '):<47}  {shown}")
    return "\n".join(lines)


def reindented(text: str) -> tuple[str, int | None]:
    """Lay out JSON token by token, up to the first invalid one. Return the text and the position of the fault, or None.

    Only the layout is new: a repeated key stays repeated. A truncated document has its fault at the end.
    """
    lines = [""]
    open_brackets: list[str] = []
    at = _SPACE.match(text).end()  # type: ignore[union-attr]
    while at < len(text) and len(lines) < JSON_LINES:
        sign = _SIGN.match(text, at)
        if sign is None:
            break
        opens = {"]": "[", "}": "{"}.get(sign[0])
        if open_brackets[-1:] != [opens] if opens else not open_brackets and sign[0] in ":,":
            break
        _lay(sign[0], lines, open_brackets)
        at = _SPACE.match(text, sign.end()).end()  # type: ignore[union-attr]
        if not open_brackets:
            break
    if len(lines) >= JSON_LINES:
        return "\n".join([*lines, "… (the rest is in the download)"]), None
    broken = at < len(text) or bool(open_brackets) or lines == [""]
    return "\n".join(lines), at if broken else None


def _lay(sign: str, lines: list[str], open_brackets: list[str]) -> None:
    if sign in "[{":
        open_brackets.append(sign)
        lines[-1] += sign
        lines.append(_indent(open_brackets))
    elif sign in "]}":
        open_brackets.pop()
        if lines[-1].strip():
            lines.append(_indent(open_brackets))
        else:
            lines[-1] = _indent(open_brackets)
        lines[-1] += sign
    elif sign == ",":
        lines[-1] += sign
        lines.append(_indent(open_brackets))
    else:
        lines[-1] += ": " if sign == ":" else sign


def _indent(open_brackets: list[str]) -> str:
    return "  " * min(len(open_brackets), _DEEPEST)
