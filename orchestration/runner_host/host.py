"""The host process: claim attempts, run their jobs on one event loop, and stop them on SIGTERM."""

from __future__ import annotations

import asyncio
import logging
import signal
import threading
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor

from core.concurrency.threadpool import run_in_threadpool
from core.limits import LIMITS
from ledger import subscription
from orchestration.runner_host import claims
from orchestration.runner_host.job import LAST_SECS, Job
from orchestration.runner_host.loop_guard import LoopGuard
from orchestration.runners import registry
from orchestration.sessions.transitions import QUEUED
from wardroom.runners import Runner

log = logging.getLogger(__name__)

#: One subscription to wake-ups lasts this many looks. A new one replaces it, in case Redis was away.
LOOKS = 12
#: Claims in one look. The first of many must not wait for the last.
MOST = 10


def usable() -> dict[str, Runner]:
    """Import every runner. One that fails is named in the log, and its sessions wait for a host that has it."""
    broken = dict(registry.failures())
    for name, why in broken.items():
        log.error("the runner %s cannot be used on this host: %s", name, why)
    return {name: registry.load(name) for name in registry.plugins() if name not in broken}


class Host:
    """The jobs of this process. `say` prints a line for the person who reads the output."""

    def __init__(self, runners: Mapping[str, Runner], say: Callable[[str], None], *, stop_secs: float) -> None:
        self._runners = runners
        self._say = say
        # The rest of the time is for the tasks that ignore it, and for the rows.
        self._stop_grace_secs = max(0.2, stop_secs - LAST_SECS - 0.5)
        self._jobs: dict[asyncio.Task[None], Job] = {}
        self._wake = asyncio.Event()
        self._stopping = asyncio.Event()
        self._is_failing = False

    async def run(self) -> None:
        """Claim and run until SIGTERM or SIGINT. Then stop every job."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self.stop)
        if not self._runners:
            self._say("no runner plug-in to host: idle until stopped")
            await self._stopping.wait()
            return
        # Jobs share the loop's own threads, for `asyncio.to_thread`. One that blocks them must not stop the others.
        loop.set_default_executor(ThreadPoolExecutor(max_workers=LIMITS.jobs_per_runner_host + 32))
        LoopGuard(loop).begin()

        def listen() -> None:
            while True:
                with subscription.to(QUEUED) as listener:
                    for _ in range(LOOKS):
                        if listener.wait(LIMITS.sweep_secs):
                            loop.call_soon_threadsafe(self._wake.set)

        threading.Thread(target=listen, name="wake-ups", daemon=True).start()
        self._say(f"hosting {', '.join(self._runners)}: up to {LIMITS.jobs_per_runner_host} jobs at once")
        stopping = asyncio.ensure_future(self._stopping.wait())
        while not self._stopping.is_set():
            self._wake.clear()
            await self._claim()
            waking = asyncio.ensure_future(self._wake.wait())
            await asyncio.wait({waking, stopping}, timeout=LIMITS.sweep_secs, return_when=asyncio.FIRST_COMPLETED)
            waking.cancel()
        await self._drain()

    def stop(self) -> None:
        """Claim no more, and stop every job."""
        self._stopping.set()

    async def _claim(self) -> None:
        """Fill the free places. A database that is away is one line in the log; the next look tries again."""
        free = LIMITS.jobs_per_runner_host - len(self._jobs)
        if free <= 0:
            return
        try:
            found = await run_in_threadpool(claims.claim, list(self._runners), min(free, MOST))
        except Exception as problem:
            if not self._is_failing:
                log.warning("no attempt can be claimed (%s: %s): it is tried again", type(problem).__name__, problem)
            self._is_failing = True
            return
        self._is_failing = False

        def ended(task: asyncio.Task[None]) -> None:
            del self._jobs[task]
            self._wake.set()  # Its place is free.

        for claimed in found:
            job = Job(claimed, self._runners[claimed.runner], self._stop_grace_secs)
            task = asyncio.create_task(job.run(), name=str(claimed))
            self._jobs[task] = job
            task.add_done_callback(ended)
            if self._stopping.is_set():
                job.stop()
        if len(found) == MOST:
            self._wake.set()

    async def _drain(self) -> None:
        """Stop every job, then record those that did not end in time."""
        jobs = dict(self._jobs)
        self._say(f"stopping {len(jobs)} jobs")
        for job in jobs.values():
            job.stop()
        if jobs:
            await asyncio.wait(jobs, timeout=self._stop_grace_secs + LAST_SECS)
        late = [(task, job) for task, job in jobs.items() if not task.done() and not job.is_settled]
        for task, job in late:
            job.abandon()
            task.cancel()
        settled = await asyncio.gather(*(job.settle() for _, job in late), return_exceptions=True)
        for (_, job), outcome in zip(late, settled, strict=True):
            if isinstance(outcome, BaseException):
                log.error("the end of %s could not be recorded", job.claimed, exc_info=outcome)
        self._say("stopped")
