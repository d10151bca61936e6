"""JSON that is safe to store: every peer, database and screen reads it alike.

Python's own reader accepts NaN, NUL, lone surrogates and duplicate keys. PostgreSQL refuses the first three later,
after the call was accepted. A duplicate key lets two readers see two different documents. All of them are refused here.
"""

import json
import math
import re
from collections import Counter
from collections.abc import Iterator
from itertools import accumulate
from typing import Any, NoReturn

MAX_DEPTH = 64
MAX_KEYS = 10_000
# Members and items of the whole document. An empty list takes 2 bytes of text and 64 of memory.
MAX_VALUES = 100_000

# Only a matching text can hold values that the C reader accepts wrongly: a NUL, a surrogate, a number beyond a double.
# (Over 1e308 takes three digits of exponent or two hundred digits.)
_SUSPICIOUS = re.compile(r"\\u0000|\\u[dD][89a-fA-F]|[eE]\+?[0-9]{3}|[0-9]{200}")
_NOT_BRACKETS = bytes(set(range(256)) - set(b"[]{}"))
_SLICE = 64 * 1024
_STEP = {ord("["): 1, ord("{"): 1, ord("]"): -1, ord("}"): -1}


class StrictJSONError(ValueError):
    """Not strict JSON. `reason` is the cause, `position` the place when it is known."""

    def __init__(self, reason: str, position: int | None = None) -> None:
        super().__init__(reason if position is None else f"{reason} (at {position})")
        self.reason = reason
        self.position = position


class TooLarge(StrictJSONError):
    """More bytes than the caller allows."""


def loads(
    data: bytes | str,
    *,
    max_bytes: int | None = None,
    max_depth: int = MAX_DEPTH,
    max_keys: int = MAX_KEYS,
    max_values: int = MAX_VALUES,
) -> Any:
    """Return the value of `data`, or raise StrictJSONError. Keys and values count over the whole document.

    Depth and values are checked before decoding, so that a small text cannot take much memory.
    """
    try:
        raw = data.encode() if isinstance(data, str) else bytes(data)
        text = data if isinstance(data, str) else raw.decode()
    except UnicodeEncodeError as error:
        raise StrictJSONError("a lone surrogate", error.start) from None
    except UnicodeDecodeError as error:
        raise StrictJSONError("not UTF-8", error.start) from None
    if max_bytes is not None and len(raw) > max_bytes:
        raise TooLarge(f"more than {max_bytes} bytes")
    brackets = text.count("[") + text.count("{")
    if brackets > max_depth or brackets + text.count(",") > max_values:
        _refuse_structure(text, max_depth, max_values)
    value = _parse(text, max_keys)
    if _SUSPICIOUS.search(text):
        check(value, max_depth=max_depth, max_keys=max_keys)
    return value


def weigh(text: str) -> int:
    """Return an upper bound of the values in a text: its commas and opening brackets, in strings too."""
    return text.count(",") + text.count("[") + text.count("{")


def check(value: Any, *, max_depth: int = MAX_DEPTH, max_keys: int = MAX_KEYS, max_values: int = MAX_VALUES) -> None:
    """Refuse a decoded value that `loads` would not have accepted, including other Python types."""
    keys = values = 0
    level: Iterator[Any] = iter((value,))
    stack = [level]
    while stack:
        for item in stack[-1]:
            values += 1
            if values > max_values:
                raise StrictJSONError(f"more than {max_values} values")
            if isinstance(item, dict):
                keys += len(item)
                if keys > max_keys:
                    raise StrictJSONError(f"more than {max_keys} keys")
                for key in item:
                    if not isinstance(key, str):
                        raise StrictJSONError("a key that is not a string")
                    _check_string(key)
                stack.append(iter(item.values()))
                break
            if isinstance(item, list | tuple):
                stack.append(iter(item))
                break
            _check_scalar(item)
        else:
            stack.pop()
        if len(stack) > max_depth + 1:
            raise StrictJSONError(f"more than {max_depth} levels")


def is_storable(text: str) -> bool:
    """Return True if both databases can store the text: no NUL, no lone surrogate."""
    try:
        _check_string(text)
    except StrictJSONError:
        return False
    return True


def _refuse_structure(text: str, max_depth: int, max_values: int) -> None:
    """Count brackets and commas outside strings before any recursion, so that a wall of `[` is refused early.

    The text is cut into slices: all of it at once could take thirty times its memory.
    """
    if "\\" in text:
        text = text.replace("\\\\", "").replace('\\"', "")
    values = depth = 0
    in_string = False
    for start in range(0, len(text), _SLICE):
        pieces = text[start : start + _SLICE].split('"')
        outside = "".join(pieces[in_string::2])
        in_string ^= len(pieces) % 2 == 0
        values += weigh(outside)
        if values > max_values:
            raise StrictJSONError(f"more than {max_values} values")
        brackets = outside.encode().translate(None, _NOT_BRACKETS)
        levels = list(accumulate(map(_STEP.__getitem__, brackets), initial=depth))
        if max(levels) > max_depth:
            raise StrictJSONError(f"more than {max_depth} levels")
        depth = levels[-1]


def _parse(text: str, max_keys: int) -> Any:
    keys = 0

    def pairs(members: list[tuple[str, Any]]) -> dict[str, Any]:
        nonlocal keys
        keys += len(members)
        if keys > max_keys:
            raise StrictJSONError(f"more than {max_keys} keys")
        found = dict(members)
        if len(found) != len(members):
            twice = next(name for name, times in Counter(name for name, _ in members).items() if times > 1)
            raise StrictJSONError(f"duplicate key {twice!r}"[:200])
        return found

    def refuse_constant(name: str) -> NoReturn:
        raise StrictJSONError(f"{name} is not JSON")

    try:
        return json.loads(text, object_pairs_hook=pairs, parse_constant=refuse_constant)
    except json.JSONDecodeError as error:
        raise StrictJSONError(f"not JSON: {error.msg}", error.pos) from None
    except RecursionError:
        raise StrictJSONError("too deep") from None
    except StrictJSONError:
        raise
    except ValueError:  # int() refuses more than 4,300 digits.
        raise StrictJSONError("a number with too many digits") from None


def _check_scalar(item: Any) -> None:
    if isinstance(item, str):
        _check_string(item)
    elif isinstance(item, float):
        if not math.isfinite(item):
            raise StrictJSONError("a number that is not finite")
    elif item is not None and not isinstance(item, bool | int):
        raise StrictJSONError(f"{type(item).__name__} is not a JSON type")


def _check_string(text: str) -> None:
    if "\0" in text:
        raise StrictJSONError("NUL in a string")
    if not text.isascii():
        try:
            text.encode()
        except UnicodeEncodeError:
            raise StrictJSONError("a lone surrogate") from None
