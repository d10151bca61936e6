"""Run one job: connect with the attempt's token, call the runner, and report how it ended.

The code of the runner runs in a task of its own. Whatever it raises, ignores or returns stays in this job.
"""

from __future__ import annotations

import asyncio
import contextvars
import logging
from typing import Any
from uuid import UUID

import msgspec
from django.conf import settings

from core.concurrency.threadpool import run_in_threadpool
from core.display.redaction import redacted
from orchestration.runner_host.claims import Claimed
from orchestration.runner_host.loop_guard import LoopBlocked, current_job
from orchestration.sessions import lifecycle
from wardroom import protocol, strict
from wardroom.child import Cancelled, Ended, Refused
from wardroom.identity import Identity
from wardroom.runners import CancelToken, Events, Runner, Suspend
from wardroom.runners import Job as Work
from wardroom.runners.hosted_child import HostedChild

log = logging.getLogger(__name__)

#: A task that was cancelled has this long to end. Then it is dropped.
LAST_SECS = 1.0


class Job:
    """One claimed attempt, and the runner that does its work."""

    def __init__(self, claimed: Claimed, runner: Runner, stop_grace_secs: float) -> None:
        self.claimed = claimed
        self.token = CancelToken()
        self.is_settled = False
        self._runner = runner
        self._stop_grace_secs = stop_grace_secs
        self._stopping = asyncio.Event()
        identity = Identity(settings.WARDROOM_URL.rstrip("/"), claimed.session, claimed.attempt, claimed.token)
        self._child = HostedChild(identity, client=f"wardroom-runners/{claimed.runner}")
        told = self._child.cancelled
        # A call of the job that waits, such as `events.approve`, raises Cancelled. The token is set by then.
        told.listener = lambda: self.token.set(told.cause, told.reason)

    async def run(self) -> None:
        """Run the job to its end. Raises nothing but CancelledError."""
        try:
            async with self._child:
                context = contextvars.copy_context()
                context.run(current_job.set, str(self.claimed))
                work = asyncio.create_task(self._execute(), context=context)
                orders = asyncio.create_task(self._await_orders())
                try:
                    await asyncio.wait({work, orders}, return_when=asyncio.FIRST_COMPLETED)
                    if not work.done():
                        await self._end(work)
                    await self._report(work)
                finally:
                    orders.cancel()
                    work.cancel()
        except (Ended, Cancelled) as over:
            log.info("%s is over: %s", self.claimed, over)
        except Exception:
            log.exception("%s could not be reported", self.claimed)

    def stop(self) -> None:
        """The host stops: end the job within its grace, and record that the server was stopped."""
        self._stopping.set()
        if self._child.is_waiting_for_run:
            self._child.leave()

    def abandon(self) -> None:
        """Send no end any more: the host records it."""
        self._child.leave()

    async def settle(self) -> None:
        """Record that the attempt was stopped with the server: it is retried by its policy, or ends in error."""
        self._child.leave()
        await run_in_threadpool(lifecycle.stopped_with_server, UUID(self.claimed.session), self.claimed.attempt)
        self.is_settled = True

    # --- the work -----------------------------------------------------------------------------------------------

    async def _execute(self) -> Any:
        """Call the runner. Raises Exception only: a SystemExit would end the host, and with it the other jobs."""
        run, claimed = self._child.run, self.claimed
        job = Work(
            session=run.session.session_id,
            parent=run.session.parent_session_id,
            root=run.session.root_session_id,
            depth=run.session.depth,
            attempt=run.attempt,
            assignment=run.assignment,
            role=run.role,
            model=msgspec.to_builtins(run.model) if run.model else None,
            reasoning_effort=run.reasoning_effort,
            disabled_tools=tuple(run.disabled_tools),
            metadata=claimed.metadata,
            history=tuple(run.messages),
            history_url=run.history_url,
            resume=msgspec.to_builtins(run.resume) if run.resume else None,
            workspace=claimed.workspace,
        )
        try:
            return await self._runner.execute(job, Events(self._child), self.token)
        except LoopBlocked as blocked:
            raise RuntimeError(str(blocked)) from None
        except asyncio.CancelledError:
            raise
        except BaseException as error:
            if isinstance(error, Exception):
                raise
            raise RuntimeError(f"the runner raised {type(error).__name__}: {error}") from error

    async def _await_orders(self) -> None:
        """Set the token at the first reason to stop."""

        async def cancelled() -> None:
            await self._child.cancelled

        told = asyncio.ensure_future(cancelled())
        stopping = asyncio.ensure_future(self._stopping.wait())
        try:
            await asyncio.wait({told, stopping}, return_when=asyncio.FIRST_COMPLETED)
            if told.done():
                self.token.set(self._child.cancelled.cause, self._child.cancelled.reason)
            else:
                self.token.set("stopping", lifecycle.STOPPED)
        finally:
            told.cancel()
            stopping.cancel()

    async def _end(self, work: asyncio.Task[Any]) -> None:
        """Give the job its grace, then cancel its task, then drop it."""
        if self.token.cause != "stopping":
            stopping = asyncio.ensure_future(self._stopping.wait())
            grace = self._child.cancelled.grace_secs
            await asyncio.wait({work, stopping}, timeout=grace, return_when=asyncio.FIRST_COMPLETED)
            stopping.cancel()
        if not work.done() and self._stopping.is_set():
            await asyncio.wait({work}, timeout=self._stop_grace_secs)
        if not work.done():
            work.cancel()
            await asyncio.wait({work}, timeout=LAST_SECS)
        if not work.done():
            log.error("%s ignores that it was cancelled: its task is dropped", self.claimed)

    # --- the end ------------------------------------------------------------------------------------------------

    async def _report(self, work: asyncio.Task[Any]) -> None:
        error = work.exception() if work.done() and not work.cancelled() else None
        if error is not None and not (isinstance(error, Cancelled) and self.token.is_set()):
            log.warning("%s raised", self.claimed, exc_info=error)
        if self.token.cause == "stopping":
            await self.settle()
        elif self.token.cause in ("watchdog", "lost"):
            self._child.leave()  # The attempt is over. Nothing that this job says counts any more.
        elif not work.done() or work.cancelled() or isinstance(error, Cancelled):
            await (self._child.stop() if self.token.is_set() else self._child.fail("the runner cancelled its own task"))
        elif error is not None:
            await self._child.fail(redacted(f"{type(error).__name__}: {error}"))
        else:
            await self._result(work.result())

    async def _result(self, result: Any) -> None:
        """Send the result. A job that was told to stop was stopped, with what it has."""

        def check() -> None:
            strict.check(result)
            try:
                protocol.refuse_oversize(protocol.Terminal(status="completed", result=result))
            except protocol.FrameRefused as refusal:
                raise ValueError(refusal.detail) from None

        try:
            if isinstance(result, Suspend) and not self.token.is_set():
                await self._child.suspend(result.wait_for, result.children, result.timeout_secs)
                return
            # In a thread: a huge result takes its time, and the loop belongs to all jobs.
            await asyncio.to_thread(check)
            await (self._child.stop(result) if self.token.is_set() else self._child.complete(result))
        except (ValueError, TypeError, RecursionError, Refused) as why:
            await self._child.fail(redacted(f"the result cannot be kept: {type(why).__name__}: {why}"))
