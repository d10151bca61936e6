"""Bodies that break each rule of a message in turn, each of them a little different."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

Body = Callable[[int], bytes]


def new_message(number: int, **more: Any) -> dict[str, Any]:
    """A good one."""
    return {"id": f"m-{number:05}", "address": "desk", "message_kind": "task", "body": f"do {number}"} | more


GOOD = json.dumps(new_message(1)).encode()
KINDS: list[Body] = [
    lambda n: GOOD[: 5 + n % (len(GOOD) - 6)],
    lambda n: b'{"address": "desk", "body": ' + b"[" * (100 + n),
    lambda n: b'{"address": "desk", "message_kind": "task", "body": "' + b"x" * (262_144 + n) + b'"}',
    lambda n: b'{"body": "' + b"x" * (600_000 + n) + b'"}',
    lambda n: json.dumps(new_message(n)).encode("utf-16"),
    lambda n: b'{"address": "desk", "body": "\xff\xfe' + str(n).encode() + b'"}',
    lambda n: b'{"address": "desk", "address": "desk-' + str(n).encode() + b'"}',
    lambda n: b'{"address": "desk", "body": NaN, "n": ' + str(n).encode() + b"}",
    lambda n: b'{"address": "desk", "body": "a\\u0000' + str(n).encode() + b'"}',
    lambda n: b'{"address": "desk\\ud800", "body": "' + str(n).encode() + b'"}',
    lambda n: json.dumps(new_message(n, message_kind="completion")).encode(),
    lambda n: json.dumps(new_message(n, message_kind="ask")).encode(),
    lambda n: b"\x00" * n,
]


def bodies(count: int, *more: Body) -> list[bytes]:
    """So many of these kinds, and of those that only one way in refuses."""
    kinds = [*KINDS, *more]
    return [kinds[number % len(kinds)](number) for number in range(count)]
