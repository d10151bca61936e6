"""Several callers at once, each on a thread and a database connection of its own."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from threading import Barrier
from typing import Any, TypeVar

from django.db import connections

T = TypeVar("T")


def together(count: int, verb: Callable[[int], T]) -> list[T]:
    """Call `verb(0..count-1)` at the same moment; their answers in that order."""
    start = Barrier(count)

    def one(number: int) -> T:
        start.wait(timeout=30)
        return verb(number)

    with crowd(count) as call:
        return [each.result(timeout=60) for each in [call(one, number) for number in range(count)]]


@contextmanager
def crowd(count: int) -> Iterator[Callable[..., Future[Any]]]:
    """`call(verb, *args)` runs it beside the caller; no connection outlives the block."""

    def clean(verb: Callable[..., Any], *args: Any) -> Any:
        try:
            return verb(*args)
        finally:
            connections.close_all()

    with ThreadPoolExecutor(count) as pool:
        yield lambda verb, *args: pool.submit(clean, verb, *args)
