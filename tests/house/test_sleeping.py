"""Tests wait for visible conditions. Only tests/waiting.py sleeps."""

import ast
import re

import pytest

from tests.house.sleeping import sleeps
from tests.house.sources import files_of_tests, name, tree

#: The one place that waits, and the `time.sleep` of processes under libfaketime, which refuses Python's own.
EXEMPT = {"tests/waiting.py", "tests/servers/faked/sitecustomize.py"}


def test_tests_never_sleep() -> None:
    sleepers = [
        f"{name(path)}:{line} {what}"
        for path in files_of_tests()
        if name(path) not in EXEMPT
        for line, what in sleeps(tree(path))
    ]
    assert sleepers == []


@pytest.mark.parametrize(
    "sample",
    [
        "time.sleep(1)",
        "await asyncio.sleep(1)",
        "from time import sleep as rest",
        "await asyncio.to_thread(time.sleep, 1)",
        "page.wait_for_timeout(500)",
        "select.select([], [], [], 0.5)",
        "threading.Event().wait(0.5)",
        "Event().wait(timeout=0.5)",
        "await run_in_threadpool(threading.Event().wait, 0.5)",
        "done = threading.Event(); done.wait(0.5)",
        "begun, free = Event(), Event(); free.set(); free.wait(60)",
        "self.go = Event(); self.go.set(); self.go.wait(timeout=1)",
        "while time.monotonic() < end: pass",
        "while (now := time.monotonic() - began) < secs: act()",
        "while seen and time.time() < end: act()",
        "wait_until(lambda: time.monotonic() > until, 20)",
        "await asyncio.wait_for(asyncio.Event().wait(), 0.5)",
        "await asyncio.wait_for(asyncio.Future(), 0.5)",
        "never = asyncio.Event(); await asyncio.wait_for(never.wait(), 0.5)",
        "never = loop.create_future(); await asyncio.wait_for(never, 0.5)",
        "await asyncio.wait(tasks, timeout=0.1)",
    ],
)
def test_what_sleeps_is_seen(sample: str) -> None:
    assert sleeps(parsed(sample)) != []


@pytest.mark.parametrize(
    "sample",
    [
        "wait_until(lambda: done.is_set())",
        "done = threading.Event(); assert done.wait(30)",
        "assert not listener.wait(0.2)",
        "process.wait(10)",
        "barrier.wait(30)",
        "await asyncio.Event().wait()",
        "gone = asyncio.Event(); work(gone); await asyncio.wait_for(gone.wait(), 5)",
        "gone = asyncio.Event(); gone.set(); await asyncio.wait_for(gone.wait(), 5)",
        "await asyncio.wait_for(serving, 5)",
        "wait_until(lambda: age(house) < time.monotonic() - since, 60)",
        "assert time.monotonic() - began < 3",
        "for _ in during(4): act()",
    ],
)
def test_what_waits_for_something_is_left_alone(sample: str) -> None:
    assert sleeps(parsed(sample)) == []


def parsed(sample: str) -> ast.Module:
    return ast.parse("async def sample():\n    " + re.sub(r"; ", "\n    ", sample))
