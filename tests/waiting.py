"""The only place where tests wait: poll until a condition is true, with a deadline."""

import asyncio
import inspect
import time
from collections.abc import Awaitable, Callable, Iterator
from typing import TypeVar

T = TypeVar("T")

PAUSE = 0.02
#: The longest pause between two looks: each look may be a request, whose work the awaited thing would like to have.
LONGEST_PAUSE = 0.1
# Nobody waits for it in vain but a test that fails: long enough for a machine that is busy with other things.
PATIENCE = 30.0


class NeverHappened(AssertionError):
    """The deadline passed first. The text names the condition and the last value."""


def wait_until(seen: Callable[..., T], timeout: float = PATIENCE, *, why: str = "") -> T:
    """Call `seen` until it returns something true, and return that.

    An exception from `seen` counts as not yet; the last one is shown when the deadline passes.
    """
    began = time.monotonic()
    while True:
        value, trouble = _look(seen)
        if value:
            return value
        if (waited := time.monotonic() - began) > timeout:
            raise NeverHappened(_complaint(seen, timeout, why, value)) from trouble
        time.sleep(_pause(waited))


async def wait_until_async(seen: Callable[..., T | Awaitable[T]], timeout: float = PATIENCE, *, why: str = "") -> T:
    """`wait_until` for async tests; `seen` may be a plain function or a coroutine function."""
    began = time.monotonic()
    while True:
        value: object = None
        trouble: Exception | None = None
        try:
            value = seen()
            if inspect.isawaitable(value):
                value = await value
        except Exception as error:
            trouble = error
        if value:
            return value  # type: ignore[return-value]
        if (waited := time.monotonic() - began) > timeout:
            raise NeverHappened(_complaint(seen, timeout, why, value)) from trouble
        await asyncio.sleep(_pause(waited))


def _pause(waited: float) -> float:
    """Return a pause of a twentieth of the wait so far, so that it makes no wait much longer."""
    return min(max(PAUSE, waited / 20), LONGEST_PAUSE)


def _look(seen: Callable[[], T]) -> tuple[T | None, Exception | None]:
    try:
        return seen(), None
    except Exception as error:
        return None, error


def _complaint(seen: Callable[..., object], timeout: float, why: str, value: object) -> str:
    return f"{why or inspect.getsource(seen).strip()} did not happen within {timeout} s (last seen: {value!r})"


def during(secs: float) -> Iterator[float]:
    """Yield the seconds that have passed until `secs` are over: a load, or an attack, of a bounded time."""
    began = time.monotonic()
    while (passed := time.monotonic() - began) < secs:
        yield passed


def breathe(secs: float = PAUSE) -> None:
    """For the processes of a test that work in a loop: leave the machine to the others for a moment."""
    time.sleep(secs)


async def stay(secs: float) -> None:
    """Stay for a bounded time, as an attacker that holds resources."""
    await asyncio.sleep(secs)


def outage(secs: float) -> None:
    """Let real time pass, for a test whose rule is about how long something was away."""
    time.sleep(secs)


def chance(secs: float) -> None:
    """Give a thread that would break the rule the time to do so. No test passes because of it."""
    time.sleep(secs)


async def all_have_begun() -> None:
    """Let each task of this event loop run until it waits for something outside of it."""
    for _ in range(20):
        await asyncio.sleep(0)
