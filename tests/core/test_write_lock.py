"""Threads of a process write to SQLite in the order of their coming."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import threading
from types import SimpleNamespace
from typing import Any

import pytest
from django.db import OperationalError, connection
from django.test import RequestFactory
from rest_framework.parsers import JSONParser
from rest_framework.request import Request
from rest_framework.response import Response

from accounts import credentials, idempotency, projects
from core.concurrency.threadpool import run_in_threadpool
from core.db import write_lock
from core.db.write_lock import turn_to_write
from ledger import unit_of_work
from tests import people
from tests.waiting import wait_until, wait_until_async


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
    return write_lock._queue._waiting


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


def test_a_turn_that_does_not_come_is_a_locked_database_and_blocks_nobody(waiting: list[object], timings: Any) -> None:
    timings(write_lock_secs=0.05)
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


@pytest.mark.django_db(transaction=True)
class TestAfterTheCommit:
    """Work after COMMIT may wait for an absent broker, and no other writer waits for it."""

    def slow(self, wrote: threading.Event, seen: list[bool]) -> None:
        """A hook that ends when another thread has written, or never will."""
        threading.Thread(target=write_in_a_thread, args=(wrote,), daemon=True).start()
        seen.append(wrote.wait(10))

    def test_another_thread_writes_while_a_hook_of_the_journal_runs(self, waiting: list[object]) -> None:
        wrote, seen = threading.Event(), list[bool]()
        with unit_of_work.transaction():
            unit_of_work.after_commit(lambda: self.slow(wrote, seen))
        assert seen == [True]

    def test_and_while_a_hook_of_a_call_with_a_key_runs(self, waiting: list[object]) -> None:
        wrote, seen = threading.Event(), list[bool]()

        @idempotency.idempotent(still=lambda *_args: None)
        def handler(view: Any, request: Any) -> Response:
            with unit_of_work.transaction():
                unit_of_work.after_commit(lambda: self.slow(wrote, seen))
            return Response({})

        credential, _ = credentials.mint(kind="api", project=projects.default(), user=people.owner())
        sent = RequestFactory().post("/", {}, "application/json", headers={"Idempotency-Key": "once"})
        view: Any = SimpleNamespace(credential=credential, kwargs={})
        handler(view, Request(sent, parsers=[JSONParser()]))
        assert seen == [True]

    def test_and_while_a_hook_of_a_call_from_an_event_loop_runs(self, waiting: list[object]) -> None:
        wrote, seen = threading.Event(), list[bool]()

        def operation() -> None:
            with unit_of_work.transaction():
                unit_of_work.after_commit(lambda: self.slow(wrote, seen))

        asyncio.run(run_in_threadpool(operation))
        assert seen == [True]

    def test_a_hook_may_take_the_turn_again(self, waiting: list[object]) -> None:
        order = []

        def again() -> None:
            with unit_of_work.transaction():
                order.append(write_lock._mine.turn is not None)

        with unit_of_work.transaction():
            unit_of_work.after_commit(again)
            unit_of_work.after_commit(again)
        assert order == [True, True]
        assert write_lock._queue._holder is None


def write_in_a_thread(wrote: threading.Event) -> None:
    try:
        with unit_of_work.transaction():
            projects.default()
        wrote.set()
    finally:
        connection.close()


def test_to_hand_on_a_turn_twice_is_harmless(waiting: list[object]) -> None:
    order: list[int] = []
    with turn_to_write():
        second = Writer(order, 1)
        wait_until(lambda: len(waiting) == 1)
        write_lock.hand_on()
        wait_until(lambda: order == [1])
        third = Writer(order, 2)
        wait_until(lambda: len(waiting) == 1)
        write_lock.hand_on()
    assert order == [1]
    second.go.set()
    wait_until(lambda: order == [1, 2])
    third.go.set()
    third.thread.join(10)
    assert write_lock._queue._holder is None


LEAVES = """
import django, signal, sys, threading
django.setup()
from core.db import write_lock

class Enough(BaseException): ...

def raises(*_):
    raise Enough

signal.signal(signal.SIGUSR1, raises)
held, go = threading.Event(), threading.Event()

def hold():
    with write_lock.turn_to_write():
        held.set()
        go.wait(30)

holder = threading.Thread(target=hold)
holder.start()
held.wait(30)
main = threading.main_thread().ident

def signals():
    while not write_lock._queue._waiting:
        pass
    signal.pthread_kill(main, signal.SIGUSR1)

threading.Thread(target=signals).start()
try:
    with write_lock.turn_to_write():
        print("entered")
except Enough:
    print("left")
go.set()
holder.join()
with write_lock.turn_to_write():
    print("next")
"""


def test_a_signal_that_raises_in_a_waiting_thread_takes_its_place_away(waiting: list[object]) -> None:
    run = [sys.executable, "-c", LEAVES]
    environment = {**os.environ, "WARDROOM_TIMINGS": '{"write_lock_secs": 5}'}
    done = subprocess.run(run, capture_output=True, text=True, timeout=60, env=environment, check=False)
    assert done.stdout.split() == ["left", "next"], done.stderr


def test_a_waiting_call_whose_task_is_cancelled_takes_the_turn_from_nobody(waiting: list[object]) -> None:
    order: list[int] = []
    first = Writer(order, 0)
    wait_until(lambda: order == [0])

    def write() -> None:
        with turn_to_write():
            order.append(1)

    async def cancelled() -> None:
        task = asyncio.create_task(run_in_threadpool(write))
        await wait_until_async(lambda: len(waiting) == 1)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(cancelled())
    first.go.set()
    wait_until(lambda: order == [0, 1])
    first.thread.join(10)
    wait_until(lambda: write_lock._queue._holder is None)
