"""The child's side of the connection, for authors of children.

    async with Child.from_env() as child:
        decision = await child.approve("deploy", {"to": "production"}, permission="deploy", resource="production")
        if decision.approved:
            async with decision.consumed() as arguments:
                deploy(**arguments)
        await child.complete("done")

The child does not handle lost connections. The SDK keeps each frame until Wardroom has it, and answers arrive on any
later connection.
"""

import asyncio
import contextlib
import logging
import secrets
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self, Unpack

import msgspec

from wardroom import protocol, strict
from wardroom.admitted import AdmittedSet
from wardroom.admitted.admissions import Admissions, folder_from_env
from wardroom.connection import End
from wardroom.decision import AlreadyConsumed, AskOptions, Decision, Facts, NotConsumed
from wardroom.identity import Identity
from wardroom.protocol import Close, Message, Run, Terminal, WaitFor
from wardroom.queries import Handler
from wardroom.wire import TERMINAL, Cancellation, Cancelled, Ended, Refused, Wire

__all__ = [
    "AdmittedSet",
    "AlreadyConsumed",
    "Cancellation",
    "Cancelled",
    "Child",
    "Decision",
    "Ended",
    "Message",
    "NotConsumed",
    "Refused",
]

log = logging.getLogger("wardroom.child")

UNREACHABLE_SECS = 600.0
INTERRUPTED_SECS = 2.0
# Bytes of a frame beside its one large member.
FRAME_ROOM = 32 * 1024


class Child:
    """One attempt of one session. Use it as an async context manager. Inside it, `child.run` is the work.

    `folder` keeps the admitted messages across restarts of the process, in a file of the session. It has to outlive the
    process, and may be shared by sessions.
    """

    #: Whether to cancel the body that still runs after the grace of a request to stop.
    _stops_body = True

    def __init__(
        self,
        identity: Identity,
        *,
        admitted: AdmittedSet | None = None,
        folder: Path | str | None = None,
        client: str = "wardroom-python",
        unreachable_secs: float = UNREACHABLE_SECS,
    ) -> None:
        self.identity = identity
        self.admitted = AdmittedSet() if admitted is None else admitted
        admissions = Admissions.kept_in(folder, identity.session, self.admitted)
        self._wire = Wire(identity, admissions, client, unreachable_secs)
        self._tasks: list[asyncio.Task[None]] = []
        self._body: asyncio.Task[Any] | None = None
        self._consuming = asyncio.Lock()
        self._stopped_body = False
        self._finished = False

    @property
    def run(self) -> Run:
        """The work: assignment, history, limits, and the rest of the `run` frame."""
        assert self._wire.run is not None, "the run is available inside `async with`"  # noqa: S101
        return self._wire.run

    @property
    def cancelled(self) -> Cancellation:
        """The request to stop: `if child.cancelled.is_set()`, or `await child.cancelled`."""
        return self._wire.cancelled

    @property
    def was_restarted(self) -> bool:
        """True when another process has already worked on this attempt."""
        return bool(self._wire.acked_at_start)

    @classmethod
    def from_env(cls, **options: Any) -> Self:
        """Return the child of this process. Raises NotAChild when Wardroom did not start it.

        The environment variable WARDROOM_CHILD_FOLDER is its `folder`, if that is not given.
        """
        return cls(Identity.from_env(), folder=options.pop("folder", None) or folder_from_env(), **options)

    # --- lifecycle --------------------------------------------------------------------------------

    async def __aenter__(self) -> Self:
        body = self._body = asyncio.current_task()

        async def stop_body() -> None:
            """Cancel the body when it still runs after the grace."""
            await self.cancelled
            await asyncio.sleep(self.cancelled.grace_secs)
            if body is not None and self._stops_body and not self._finished:
                self._stopped_body = True
                body.cancel()

        self._tasks = [asyncio.create_task(self._hold()), asyncio.create_task(stop_body())]
        try:
            await self._wire.until(lambda: self._wire.run is not None, heed_cancel=True)
        except BaseException as error:
            await self.__aexit__(type(error), error, None)
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> bool:
        """Send the end when the body has not: completed, cancelled as requested, or in error."""
        try:
            if not self._finished and self._wire.end is None:
                with contextlib.suppress(Ended):
                    if self.cancelled.is_set():
                        await self.stop()
                    elif error is None:
                        await self.complete(None)
                    elif isinstance(error, Exception):
                        await self.fail(f"{type(error).__name__}: {error}")
                    else:  # The process should end: try once, not for ten minutes.
                        with contextlib.suppress(TimeoutError):
                            await asyncio.wait_for(self.fail("the child was interrupted"), INTERRUPTED_SECS)
        finally:
            await self._wire.queries.close()
            for task in self._tasks:
                task.cancel()
            await asyncio.gather(*self._tasks, return_exceptions=True)
        if self._stopped_body and isinstance(error, asyncio.CancelledError) and self._body is not None:
            self._body.uncancel()
            return True
        return isinstance(error, Cancelled)

    async def _hold(self) -> None:
        """Run the connection to its end, then wake the callers that still wait for answers."""
        try:
            end = await self._wire.connection.run()
        except Exception as error:  # A bug of ours, or an invalid address: no caller may wait for it.
            end = End(Close.LOST, f"{type(error).__name__}: {error}")
            log.exception("the connection failed")
        self._wire.end = end
        self._wire.wake()
        if not self._finished:
            self.cancelled.set(end.reason, self.cancelled.grace_secs, "lost")

    # --- events and history -----------------------------------------------------------------------

    async def emit(self, type: str, **fields: Any) -> None:
        """Emit an event.

        A durable one is kept until committed, and waits while too many are uncommitted; others may be lost.

        Raises StrictJSONError or ValueError for an invalid event, Ended when no server will take it.
        """
        event = {"type": type, **fields}
        self._check(event)
        if protocol.qos_of(type) == "durable":
            await self._wire.until(lambda: not self._wire.buffer.full)
        if self._wire.end is not None:
            raise Ended(self._wire.end)
        self._wire.event(event)

    async def flushed(self) -> None:
        """Return when every durable event so far is committed. Raises Refused when the server refused one of them."""
        await self._wire.until(lambda: not self._wire.buffer.unacknowledged)
        refused, self._wire.refused_events = self._wire.refused_events, None
        if refused is not None:
            raise refused

    async def transcript(self, *items: dict[str, Any]) -> None:
        """Add items `{role, content, id?}` to the session's history. Return when they are stored.

        Raises Refused when the server refused one of them. Items of the same frame are not stored either.
        """
        for item in items:
            self._check(item)
        added = self._wire.add_items([protocol.Item(**item) for item in items])
        await self._wire.until(lambda: all(each.settled for each in added))
        for refusal in filter(None, (each.refusal for each in added)):
            raise Refused(refusal.code, refusal.detail)
        self._wire.admissions.note(item["id"] for item in items if item.get("id"))

    # --- approvals --------------------------------------------------------------------------------

    async def approve(
        self,
        tool: str,
        arguments: dict[str, Any],
        *,
        permission: str,
        resource: str,
        expires_in: int | None = None,
        timeout: float | None = None,
        id: str | None = None,
        **options: Unpack[AskOptions],
    ) -> Decision:
        """Request approval to run the tool with exactly these arguments, and wait for the decision.

        After `timeout` seconds the answer is *pending*; a new request with the same `id` continues the wait. The same
        `id` with any other change raises Refused. Raises Cancelled when the child is asked to stop.
        """
        self._check(arguments)
        body = protocol.ApprovalBody(
            tool_name=tool,
            permission=permission,
            resource=resource,
            arguments=arguments,
            expires_in_secs=expires_in,
            **options,
        )
        request = protocol.ApprovalRequest(id=id or secrets.token_urlsafe(24), body=body)
        if not self._wire.has_answer("ask", request.id):
            self._wire.track("ask", request.id, request)
        try:
            reply = await asyncio.wait_for(self._wire.answer("ask", request.id, heed_cancel=True), timeout)
        except TimeoutError:
            return Decision(request.id, "pending")
        self._wire.connection.send(protocol.ApprovalAck(id=request.id, state="received", digest=reply.digest))
        return Decision(
            request.id,
            reply.decision,
            reply.message,
            reply.arguments or {},
            reply.digest,
            reply.approval_id,
            response=reply.response,
            _consume=self.consume,
        )

    async def consume(self, decision: Decision, claim: str | None = None, facts: Facts = None) -> dict[str, Any]:
        """Consume the one execution of an approved decision. Return the arguments to run it with.

        `claim` is a secret of this executor: the same claim gets the same execution again, so keep it if the executor
        may be restarted. Raises AlreadyConsumed (after an `unknown_outcome` event) when another execution took it,
        NotConsumed for every other refusal: `stale` if one of `facts`, the preconditions as they are now, differs. Run
        the tool only after this has returned.
        """
        if decision.state != "approved":
            raise NotConsumed("not-approved", f"this decision is {decision.state}")
        claim = claim or secrets.token_urlsafe(24)
        shown: dict[str, Any] = {"digest": decision.digest, "claim": claim, "preconditions": facts}
        frame = protocol.ApprovalAck(id=decision.id, state="consumed", **shown)
        try:
            async with self._consuming:  # The answer names only the request: two concurrent claims could both take it.
                self._wire.track("consume", decision.id, frame)
                await self._wire.answer("consume", decision.id)
        except Refused as refusal:
            if refusal.code != "consumed":
                raise NotConsumed(refusal.code, refusal.detail) from None
            await self.emit("unknown_outcome", approval=decision.id, detail=refusal.detail)
            raise AlreadyConsumed(refusal.code, refusal.detail) from None
        return decision.arguments

    async def withdraw(self, decision_or_id: Decision | str, reason: str | None = None) -> None:
        """Withdraw a request: the tool no longer needs the answer."""
        id = decision_or_id.id if isinstance(decision_or_id, Decision) else decision_or_id
        self._wire.drop("ask", id)
        self._wire.track("withdraw", id, protocol.ApprovalWithdraw(id=id, reason=reason))

    def request_id(self, name: str) -> str:
        """Return an id for a request that others cannot guess and that a restart of this process reproduces."""
        return self.identity.keyed(name)

    # --- messages ---------------------------------------------------------------------------------

    async def checkpoint(self) -> list[Message]:
        """Return the messages that arrived since the last safe point, oldest first, and mark them admitted."""
        return self._wire.checkpoint()

    async def wait_message(self, timeout: float | None = None) -> bool:
        """Wait until a checkpoint would return a message. Return False after `timeout` seconds."""
        try:
            await asyncio.wait_for(self._wire.until(lambda: bool(self._wire.turns()), heed_cancel=True), timeout)
        except TimeoutError:
            return False
        return True

    def on_query(self, handler: Handler) -> Handler:
        """`@child.on_query async def answer(question, state)`: answer queries beside the work.

        `state` is a copy of `child.state` at the time of the question. Without a handler, and in the mode `steer`, an
        ask arrives at the next checkpoint; `reply` answers it. A person's question about a pending approval goes to the
        same handler; without one it stays open.
        """
        self._wire.queries.handler = handler
        with contextlib.suppress(RuntimeError):  # Without a loop there is no connection, and no message has come.
            # Later, not now: the body may set its state on the next line.
            asyncio.get_running_loop().call_soon(self._wire.turns)
        return handler

    @property
    def state(self) -> Any:
        """The state for answers to queries. Keep it up to date."""
        return self._wire.queries.state

    @state.setter
    def state(self, state: Any) -> None:
        self._wire.queries.state = state

    async def reply(self, message: Message, answer: Any) -> None:
        """Answer an ask. The answer goes to the sender of the ask."""
        self._check(answer)
        await self._wire.reply(message, answer)

    async def send(
        self,
        message_kind: str,
        body: Any,
        *,
        to: str | None = None,
        correlation_id: str | None = None,
        id: str | None = None,
    ) -> str:
        """Put a message into another mailbox. Return its outcome when it is durable. Raises Refused."""
        self._check(body)
        id = id or secrets.token_urlsafe(24)
        frame = protocol.Send(id=id, to=to, message_kind=message_kind, body=body, correlation_id=correlation_id)
        self._wire.track("send", id, frame)
        return str(await self._wire.answer("send", id))

    # --- ends of an attempt -----------------------------------------------------------------------

    async def complete(self, result: Any = None) -> None:
        """End the attempt as completed. Return when Wardroom has it. Raises ValueError for a result over 128 KiB."""
        await self._finish(Terminal(status="completed", result=result))

    async def fail(self, error: str) -> None:
        """End the attempt in error."""
        text = error[:8192].encode(errors="replace").decode().replace("\0", "\ufffd")
        await self._finish(Terminal(status="error", error=text))

    async def stop(self, result: Any = None) -> None:
        """End the attempt as cancelled, after a request to stop."""
        reason = self.cancelled.reason or None
        await self._finish(Terminal(status="cancelled", result=result, error=reason))

    async def suspend(
        self, wait_for: WaitFor = "all", children: Sequence[str] | None = None, timeout_secs: int | None = None
    ) -> None:
        """Suspend the session. It is started again when the awaited children are done."""
        chosen = list(children) if children is not None else None
        await self._finish(Terminal(status="suspended", wait_for=wait_for, children=chosen, timeout_secs=timeout_secs))

    async def _finish(self, terminal: Terminal) -> None:
        strict.check(terminal.result)
        try:
            protocol.refuse_oversize(terminal)
        except protocol.FrameRefused as refusal:
            raise ValueError(refusal.detail) from None
        self._finished = True
        self._wire.connection.send(*self._wire.buffer.flush())
        self._wire.track(TERMINAL, TERMINAL, terminal)
        try:
            await self._wire.answer(TERMINAL, TERMINAL)
        except Ended as ended:
            if ended.end.code not in (Close.DONE, Close.REPLACED, Close.ATTEMPT_OVER):
                raise
        except Refused:
            self._finished = False
            raise

    def _check(self, value: Any) -> None:
        """Raise StrictJSONError for invalid JSON, ValueError for a value too large for a frame."""
        strict.check(value)
        room = self._wire.max_frame_bytes - FRAME_ROOM
        if len(msgspec.json.encode(value)) > room:
            raise ValueError(f"more than {room} bytes cannot be sent in one frame")
