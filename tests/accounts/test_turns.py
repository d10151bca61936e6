"""Threads of a process write to SQLite in the order of their coming."""

from __future__ import annotations

import threading
from typing import Any

import pytest
from django.db import OperationalError

from accounts import turns
from accounts.turns import turn_to_write
from tests.waiting import wait_until


class Writer:
    """A thread that asks for the turn, and keeps it until it is let go."""

    def __init__(self, order: list[int], number: int) -> None:
        self.go = threading.Event()
        self.refused = False
        self._order, self._number = order, number
        self.thread = threading.Thread(target=self._write, daemon=True)
        self.thread.start()

    def _write(self) -> None:
        try:
            with turn_to_write():
                self._order.append(self._number)
                assert self.go.wait(10)
        except OperationalError:
            self.refused = True


@pytest.fixture
def waiting(backend: str) -> object:
    if backend != "sqlite":
        pytest.skip("PostgreSQL queues by itself")
    return turns._queue._waiting


def test_the_turn_is_handed_on_in_the_order_of_coming(waiting: list[object]) -> None:
    order: list[int] = []
    writers = []
    for number in range(4):
        writers.append(Writer(order, number))
        wait_until(lambda number=number: order == [0] and len(waiting) == number)
    for number, writer in enumerate(writers):
        wait_until(lambda number=number: order == list(range(number + 1)))
        writer.go.set()
    for writer in writers:
        writer.thread.join(10)
    with turn_to_write():
        assert order == [0, 1, 2, 3]


def test_a_transaction_within_a_turn_needs_no_other(waiting: list[object]) -> None:
    with turn_to_write(), turn_to_write():
        assert not waiting


def test_a_turn_that_does_not_come_is_a_locked_database_and_blocks_nobody(waiting: list[object], settings: Any) -> None:
    settings.WARDROOM = {**settings.WARDROOM, "write_lock_secs": 0.05}
    order: list[int] = []
    first = Writer(order, 0)
    wait_until(lambda: order == [0])
    second = Writer(order, 1)
    second.thread.join(10)
    assert (second.refused, len(waiting)) == (True, 0)
    first.go.set()
    first.thread.join(10)
    with turn_to_write():
        assert order == [0]
