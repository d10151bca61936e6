"""The same child for programs without asyncio: same names, plain calls.

    with Child.from_env() as child:
        decision = child.approve("deploy", {"to": "production"}, permission="deploy", resource="production")
        if decision.approved:
            deploy(**child.consume(decision))
        child.complete("done")

A separate thread runs the connection, so that a long step of the program does not lose it.
"""

import _thread
import asyncio
import ctypes
import signal
import threading
from collections.abc import Coroutine, Sequence
from types import TracebackType
from typing import Any, Self, TypeVar

from wardroom import child as asynchronous
from wardroom.admitted.admissions import folder_from_env
from wardroom.decision import Decision, Facts
from wardroom.identity import Identity
from wardroom.protocol import Message, Run, WaitFor
from wardroom.wire import Cancellation, Cancelled

__all__ = ["Cancelled", "Child", "Decision"]

T = TypeVar("T")


class Child:
    """One attempt of one session, as a plain context manager. See `wardroom.child.Child` for each method."""

    def __init__(self, identity: Identity, **options: Any) -> None:
        self._loop = asyncio.new_event_loop()
        self._child = asynchronous.Child(identity, **options)
        self._body = 0
        self._thread = threading.Thread(target=self._loop.run_forever, name="wardroom-connection", daemon=True)
        self._left = asyncio.Event()
        self._entered: asyncio.Future[None] = self._loop.create_future()
        self._error: BaseException | None = None
        self._holding: asyncio.Task[None] | None = None

    @classmethod
    def from_env(cls, **options: Any) -> Self:
        """Return the child of this process. Raises NotAChild when Wardroom did not start it."""
        return cls(Identity.from_env(), folder=options.pop("folder", None) or folder_from_env(), **options)

    @property
    def run(self) -> Run:
        """The work."""
        return self._child.run

    @property
    def cancelled(self) -> Cancellation:
        """The request to stop: `child.cancelled.is_set()`."""
        return self._child.cancelled

    @property
    def was_restarted(self) -> bool:
        """True when another process has already worked on this attempt."""
        return self._child.was_restarted

    def __enter__(self) -> Self:
        self._body = threading.get_ident()
        self._thread.start()
        try:
            self._wait(self._enter())
        except BaseException:
            self._stop()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> bool:
        try:
            return self._wait(self._leave(error))
        finally:
            self._stop()

    async def _enter(self) -> None:
        self._holding = asyncio.create_task(self._hold())
        await self._entered

    async def _hold(self) -> None:
        """Run the async child until the program leaves, and pass on a request to stop."""
        try:
            async with self._child:
                self._entered.set_result(None)
                try:
                    await self._left.wait()
                except asyncio.CancelledError:
                    self._interrupt()
                    raise
                if self._error is not None:
                    raise self._error
        except BaseException as error:
            if not self._entered.done():
                self._entered.set_exception(error)
            elif error is not self._error:
                raise

    def _interrupt(self) -> None:
        """Raise KeyboardInterrupt in the program's thread.

        Use SIGINT where it is handled, because it also ends a blocking call. Elsewhere (another thread, or a process
        that was started with SIGINT ignored, as a shell does in the background) it takes effect at the thread's next
        instruction.
        """
        if self._body == threading.main_thread().ident and callable(signal.getsignal(signal.SIGINT)):
            _thread.interrupt_main()
        else:
            thread, error = ctypes.c_ulong(self._body), ctypes.py_object(KeyboardInterrupt)
            ctypes.pythonapi.PyThreadState_SetAsyncExc(thread, error)

    async def _leave(self, error: BaseException | None) -> bool:
        self._error = error
        self._left.set()
        if self._holding is not None:
            await self._holding
        return isinstance(error, Cancelled)

    def _wait(self, work: Coroutine[Any, Any, T]) -> T:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result()

    def _stop(self) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def emit(self, type: str, **fields: Any) -> None:
        """Emit an event."""
        self._wait(self._child.emit(type, **fields))

    def flushed(self) -> None:
        """Return when every durable event so far is committed."""
        self._wait(self._child.flushed())

    def transcript(self, *items: dict[str, Any]) -> None:
        """Add items to the session's history."""
        self._wait(self._child.transcript(*items))

    def approve(self, tool: str, arguments: dict[str, Any], **options: Any) -> Decision:
        """Request approval to run the tool with exactly these arguments, and wait for the decision."""
        return self._wait(self._child.approve(tool, arguments, **options))

    def consume(self, decision: Decision, claim: str | None = None, facts: Facts = None) -> dict[str, Any]:
        """Consume the one execution of an approved decision."""
        return self._wait(self._child.consume(decision, claim, facts))

    def withdraw(self, decision_or_id: Decision | str, reason: str | None = None) -> None:
        """Withdraw a request: the tool no longer needs the answer."""
        self._wait(self._child.withdraw(decision_or_id, reason))

    def request_id(self, name: str) -> str:
        """Return an id for a request that a restart of this process reproduces."""
        return self._child.request_id(name)

    def checkpoint(self) -> list[Message]:
        """Return the messages that arrived since the last safe point, and mark them admitted."""
        return self._wait(self._child.checkpoint())

    def wait_message(self, timeout: float | None = None) -> bool:
        """Wait until a checkpoint would return a message."""
        return self._wait(self._child.wait_message(timeout))

    def reply(self, message: Message, answer: Any) -> None:
        """Answer an ask. The answer goes to the sender of the ask."""
        self._wait(self._child.reply(message, answer))

    def send(self, message_kind: str, body: Any, **options: Any) -> str:
        """Put a message into another mailbox."""
        return self._wait(self._child.send(message_kind, body, **options))

    def complete(self, result: Any = None) -> None:
        """End the attempt as completed."""
        self._wait(self._child.complete(result))

    def fail(self, error: str) -> None:
        """End the attempt in error."""
        self._wait(self._child.fail(error))

    def stop(self, result: Any = None) -> None:
        """End the attempt as cancelled, after a request to stop."""
        self._wait(self._child.stop(result))

    def suspend(
        self, wait_for: WaitFor = "all", children: Sequence[str] | None = None, timeout_secs: int | None = None
    ) -> None:
        """Suspend the session. It is started again when the awaited children are done."""
        self._wait(self._child.suspend(wait_for, children, timeout_secs))
