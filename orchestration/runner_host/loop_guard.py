"""Keep one job from blocking the event loop that all jobs of a host share.

A thread notices that the loop does not turn. It logs the place, then interrupts the job that blocks it, and at last
ends this process, so that the process manager starts a new one: other jobs would lose their connections anyway.
"""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import sys
import threading
import time
import traceback
from contextvars import ContextVar
from types import FrameType

log = logging.getLogger(__name__)

TICK_SECS = 0.25
#: The loop does not turn for this long: the place is logged; the job is interrupted; the process is ended. The second
#: number is less than the time in which a ping must be answered, the third less than the grace of a lost connection.
SLOW_SECS, INTERRUPT_SECS, HUNG_SECS = 2.0, 10.0, 45.0
INTERRUPT = signal.SIGUSR1

#: The job whose code runs now. Tasks and callbacks that the code of a job starts inherit it.
current_job: ContextVar[str] = ContextVar("current_job", default="")


class LoopBlocked(BaseException):
    """The code of this job blocked the event loop. Not an Exception: a job that catches those must stop too."""


class LoopGuard:
    """The watch over the event loop of the main thread."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._turns = 0
        # Seconds without a turn, counted by the thread: a process that was stopped as a whole is not blocked.
        self._blocked_secs = 0.0
        self._main = threading.main_thread().ident or 0

    def begin(self) -> None:
        """Start to watch. Call it in the main thread."""
        signal.signal(INTERRUPT, self._interrupt)
        self._loop.call_soon(self._turn)
        threading.Thread(target=self._watch, name="loop-guard", daemon=True).start()

    def _turn(self) -> None:
        self._turns += 1
        self._loop.call_later(TICK_SECS, self._turn)

    def _watch(self) -> None:
        seen, is_told = 0, False
        while True:
            time.sleep(TICK_SECS)
            if self._turns != seen:
                seen, is_told, self._blocked_secs = self._turns, False, 0.0
                continue
            self._blocked_secs += TICK_SECS
            if self._blocked_secs > SLOW_SECS and not is_told:
                is_told = True
                frame = sys._current_frames().get(self._main)
                stack = "".join(traceback.format_stack(frame)[-12:]) if frame else ""
                log.error("a job blocks the event loop of all jobs; it is here:\n%s", stack)
            if self._blocked_secs > HUNG_SECS:
                log.critical("the event loop did not turn for %.0f s: ending this process", self._blocked_secs)
                os.kill(os.getpid(), signal.SIGKILL)
            elif self._blocked_secs > INTERRUPT_SECS:
                signal.pthread_kill(self._main, INTERRUPT)

    def _interrupt(self, number: int, frame: FrameType | None) -> None:
        """Raise inside the code of the job. Code of the host and of the loop is never interrupted."""
        job = current_job.get()
        if job and self._blocked_secs > INTERRUPT_SECS:
            raise LoopBlocked(f"the runner blocked the event loop for {self._blocked_secs:.0f} s")
