"""Several callers at once, each on a thread and a database connection of its own."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from threading import Barrier
from typing import Any, TypeVar

from django.db import connections

T = TypeVar("T")


def at_once(count: int, operation: Callable[[int], T]) -> list[T]:
    """Call `operation(0..count-1)` at the same moment; their answers in that order."""
    start = Barrier(count)

    def one(number: int) -> T:
        start.wait(timeout=30)
        return operation(number)

    with concurrently(count) as call:
        return [each.result(timeout=60) for each in [call(one, number) for number in range(count)]]


@contextmanager
def concurrently(count: int) -> Iterator[Callable[..., Future[Any]]]:
    """`call(operation, *args)` runs it beside the caller; no connection outlives the block."""

    def clean(operation: Callable[..., Any], *args: Any) -> Any:
        try:
            return operation(*args)
        finally:
            connections.close_all()

    with ThreadPoolExecutor(count) as pool:
        yield lambda operation, *args: pool.submit(clean, operation, *args)
