"""Cut a text of a child that is too long: at the edge of a character, with a mark."""

from __future__ import annotations

import bisect
import json
from collections.abc import Callable


def stored_bytes(text: str) -> int:
    """Return the size of a text in UTF-8."""
    return len(text.encode())


def json_bytes(text: str) -> int:
    """Return the size of a text inside a JSON string. A control character takes six bytes."""
    return len(json.dumps(text, ensure_ascii=False).encode()) - 2


def cut(text: str, most: int, where: str, size: Callable[[str], int] = stored_bytes) -> str:
    """Return the text, or as much of its beginning as fits into `most` with the mark.

    `where` is the end of the mark.
    """
    if size(text) <= most:
        return text
    mark = f"\n[cut by Wardroom: {len(text)} characters in all{where}]"
    room = most - size(mark)
    fitting = bisect.bisect_right(range(len(text) + 1), room, key=lambda length: size(text[:length])) - 1
    return text[: max(fitting, 0)] + mark
