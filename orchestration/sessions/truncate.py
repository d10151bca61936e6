"""Shortening what a child said, where the whole of it does not fit: on a character's edge, with a mark that says so."""

from __future__ import annotations

import bisect
import json
from collections.abc import Callable


def stored_bytes(text: str) -> int:
    """What a text takes as it stands."""
    return len(text.encode())


def json_bytes(text: str) -> int:
    """What a text takes inside a JSON string: a control character takes six."""
    return len(json.dumps(text, ensure_ascii=False).encode()) - 2


def cut(text: str, most: int, where: str, size: Callable[[str], int] = stored_bytes) -> str:
    """The text, or as much of its beginning as fits into `most` together with the mark; `where` ends the mark."""
    if size(text) <= most:
        return text
    mark = f"\n[cut by Wardroom: {len(text)} characters in all{where}]"
    room = most - size(mark)
    fitting = bisect.bisect_right(range(len(text) + 1), room, key=lambda length: size(text[:length])) - 1
    return text[: max(fitting, 0)] + mark
