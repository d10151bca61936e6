"""The socket of a child: parse a frame, call one operation, answer.

A connection is three tasks. The reader fills an inbox and waits for no operation. The worker takes frames in order,
decodes them and calls one operation for each. The feeder reads the rows after each wake-up, and every few seconds
without one, and writes the frames that are due. The first task that fails ends the connection.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import logging
import time
from collections.abc import Callable, Coroutine
from typing import Any

from channels.consumer import AsyncConsumer
from django.db import DatabaseError, DataError, IntegrityError

from approvals.audit_events import answers
from core.concurrency.threadpool import run_in_threadpool
from core.db import outages
from core.limits import LIMITS
from core.web import callers
from core.web.problems import Problem
from ledger import ephemeral_events, hub
from orchestration.connections import approvals, backpressure, handshake, messages, outgoing, run, terminal
from orchestration.connections import events as connection_events
from orchestration.connections.fencing import Claim, ConnectionRejected, Principal, claim, disconnect, replaced
from orchestration.connections.outgoing import ConnectionState
from orchestration.connections.transport import CloseConnection, Inbox, PeerDisconnected, Receive, Send, Transport
from wardroom import protocol
from wardroom.protocol import Close, Frame, FrameRefused, UnknownKind

log = logging.getLogger(__name__)
TOUCH_SECS = 1.0
# The time after which a child should reconnect after a server error.
RETRY_SECS = 2
# Event frames are committed together up to these limits, so that no commit takes long.
MERGED_EVENTS, MERGED_CHARACTERS = 256, 256 * 1024


class ChildConsumer(AsyncConsumer):
    """One connection of one child, from handshake to close."""

    connection: Claim
    subscription: hub.Subscription

    async def __call__(self, scope: Any, receive: Receive, send: Send) -> None:
        """Run the connection to its end.

        Channels' own loop is not used: it costs a thread hop and two tasks for each frame.
        """
        self.transport = Transport(receive, send)
        self.inbox = Inbox()
        self.state = ConnectionState()
        self.budget = backpressure.Budget()
        self.answers: list[Callable[[], Coroutine[Any, Any, None]]] = []
        self.is_live = self.ending = False
        self.touched = 0.0
        self.address = callers.address(scope)
        self.offer = handshake.read(scope)
        try:
            await self.transport.accept(self.offer.subprotocol)
            await self._serve(scope["url_route"]["kwargs"].get("session_id", ""))
        except Exception as error:
            end = _closing(error)
            if end.code is not None:
                await self.transport.close(end.code, end.reason)
        finally:
            await self._record_disconnect()

    # --- the connection -------------------------------------------------------------------------------------

    async def _serve(self, session: str) -> None:
        principal = await handshake.admit(self.offer, self.address, session)
        if not self.offer.understood:
            raise CloseConnection(Close.NOT_PROTOCOL, f"offer {protocol.V1} or {protocol.PLAIN}")
        with backpressure.count_socket(principal.session_id):
            await _until_one_fails(self.transport.read(self.inbox), self._connected(principal))

    async def _connected(self, principal: Principal) -> None:
        if not self.offer.plain:
            await self._hello(principal)
        backpressure.count_connection(principal.session_id)
        self.connection = await run_in_threadpool(claim, principal, plain=self.offer.plain)
        self.is_live = True
        # Listen after the claim, which ends in a wake-up for others, and before the first look.
        session_id = principal.session_id
        topics = f"session:{session_id}", answers(session_id), replaced(session_id, self.connection.number)
        async with hub.get().listen(*topics) as self.subscription:
            if not self.offer.plain:
                await self.transport.send(await run_in_threadpool(run.welcome, self.connection))
            try:
                await _until_one_fails(self._work(), self._feed())
            except ConnectionRejected:
                for frame in await run_in_threadpool(outgoing.final_frames, self.connection, self.state):
                    await self.transport.send(frame)
                raise

    async def _record_disconnect(self) -> None:
        """Record that the connection is lost.

        Retry until it is written: without the record the session would look live.
        """
        while self.is_live:
            try:
                await asyncio.shield(run_in_threadpool(disconnect, self.connection))
                return
            except DatabaseError:
                log.warning("the end of a connection could not be recorded", exc_info=True)
            await asyncio.sleep(LIMITS.heartbeat_secs)

    async def _hello(self, principal: Principal) -> None:
        try:
            async with asyncio.timeout(LIMITS.hello_secs):
                while isinstance(hello := self._decode(await self.inbox.take()), UnknownKind):
                    await self.transport.send(_unknown(hello))
        except TimeoutError:
            raise CloseConnection(Close.NO_HELLO, f"no hello in {LIMITS.hello_secs} s") from None
        if not isinstance(hello, protocol.Hello):
            raise CloseConnection(Close.NOT_PROTOCOL, "the first frame must be hello")
        if hello.attempt != principal.attempt:
            raise CloseConnection(Close.REPLACED, f"this token is for attempt {principal.attempt}")
        self.state.need_run = bool(hello.need_run)

    def _decode(self, text: str) -> Frame | UnknownKind:
        try:
            return protocol.decode_child(text, plain=self.offer.plain, max_bytes=LIMITS.max_frame_bytes)
        except UnknownKind as unknown:
            return unknown
        except protocol.ProtocolError as error:
            raise CloseConnection(error.close_code, error.reason) from None

    # --- incoming frames ------------------------------------------------------------------------------------

    async def _work(self) -> None:
        """Handle frames one after another.

        The answers are written after the frame's memory is released: a peer that does not read must not keep memory
        from others. A peer that has left can get no answers, but its frames are still handled, a terminal frame
        included.
        """
        while True:
            text = await self.inbox.take()
            end: CloseConnection | None = None
            async with self.budget.room_for(text):
                try:
                    frame = self._decode(text)
                    await self._or_refuse(frame, self._dispatch(frame))
                except CloseConnection as close:
                    end = close
            answers, self.answers = self.answers, []
            with contextlib.suppress(PeerDisconnected):
                for answer in answers:
                    await answer()
            if end is not None:
                raise end

    async def _or_refuse(self, frame: Frame | UnknownKind, work: Coroutine[Any, Any, None]) -> None:
        """Run the work. A refusal becomes an `error` frame for this frame and affects no other frame."""
        try:
            await work
        except Problem as refusal:
            self._queue_answer(_refusal(frame, refusal.type, refusal.detail))
        except FrameRefused as refusal:
            self._queue_answer(_refusal(frame, refusal.code, refusal.detail))
        except DatabaseError as error:
            if not isinstance(error, DataError | IntegrityError) and outages.reason(error):
                raise
            # No check of ours caught this value. The transaction is rolled back, and the connection goes on.
            log.error("a frame of %s was refused by the database", self.connection.session_id, exc_info=error)
            self._queue_answer(_refusal(frame, "invalid", "This frame holds a value that cannot be stored."))

    def _queue_answer(self, *frames: Frame) -> None:
        """Queue answers. They are written when the frame's memory is released."""
        self.answers += (functools.partial(self.transport.send, frame) for frame in frames)

    async def _dispatch(self, frame: Frame | UnknownKind) -> None:  # noqa: C901 - a case for each frame
        if isinstance(frame, Frame):
            protocol.refuse_oversize(frame)
        match frame:
            case protocol.EventFrame() | protocol.EventBatch() | protocol.PlainEvent():
                await self._on_events(frame)
            case protocol.ApprovalRequest():
                await self._on_approval_request(frame)
            case protocol.ApprovalAck():
                self._queue_answer(*await self.budget.run(approvals.acknowledge, self.connection, frame))
            case protocol.ApprovalWithdraw():
                await self.budget.run(approvals.withdraw, self.connection, frame)
            case protocol.MessageAdmitted():
                await self.budget.run(messages.admit, self.connection, frame.ids)
            case protocol.Send():
                outcome = await self.budget.run(messages.send, self.connection, frame)
                self._queue_answer(protocol.SendAck(id=frame.id, outcome=outcome))
            case protocol.RunAck():
                await self.budget.run(run.acknowledge, self.connection)
            case protocol.Transcript():
                kept = await self.budget.run(run.keep_transcript, self.connection, frame)
                self._queue_answer(protocol.TranscriptAck(next=kept))
            case protocol.Terminal():
                await self._on_terminal(frame)
            case protocol.Hello():
                raise FrameRefused("unexpected", "hello was already sent on this connection")
            case UnknownKind():
                self._queue_answer(_unknown(frame))

    async def _on_events(self, first: protocol.EventFrame | protocol.EventBatch | protocol.PlainEvent) -> None:
        kinds = (protocol.PlainEvent,) if self.offer.plain else (protocol.EventFrame, protocol.EventBatch)
        frames = await self._with_queued(first, *kinds)
        try:
            await self._keep_events(frames)
        except (Problem, DataError, IntegrityError):
            if len(frames) == 1:
                raise
            # One frame is at fault. Handle each alone, so that only that one is refused.
            for frame in frames:
                await self._or_refuse(frame, self._keep_events([frame]))

    async def _keep_events(self, frames: list[Any]) -> None:
        keep = connection_events.accept_plain if self.offer.plain else connection_events.accept
        events = await self._publish_ephemeral(connection_events.numbered(frames))
        if events:
            acked = await self.budget.run(keep, self.connection, events)
            if not self.offer.plain:
                self._queue_answer(protocol.EventAck(seq=acked))

    async def _with_queued(self, first: Frame, *kinds: type[Frame]) -> list[Any]:
        """Return the frame and the queued frames of these kinds behind it.

        A slow child then catches up in one commit.
        """
        taken: list[Any] = [first]
        events, room = _events(first), MERGED_CHARACTERS
        while events < MERGED_EVENTS and (text := self.inbox.peek()) is not None and len(text) <= room:
            try:
                frame = self._decode(text)
            except CloseConnection:
                # Raised again when the worker takes this frame, after the earlier frames are answered.
                break
            if not isinstance(frame, kinds):
                break
            await self.inbox.take()
            self.budget.spend(len(text))
            events, room = events + _events(frame), room - len(text)
            taken.append(frame)
        return taken

    async def _publish_ephemeral(self, events: list[connection_events.Numbered]) -> list[connection_events.Numbered]:
        """Publish the ephemeral events, which are not stored, and return the rest."""
        self.budget.spend(0, len(events))
        passing = [event for event in events if event.qos == "ephemeral"]
        for event in passing:
            ephemeral_events.show(self.connection.session_id, event.as_ephemeral(self.connection))
        # A stream of tokens shows activity, but each token is not worth a commit.
        if passing and time.monotonic() - self.touched > TOUCH_SECS:
            self.touched = time.monotonic()
            await self.budget.run(connection_events.touch, self.connection)
        return [event for event in events if event.qos != "ephemeral"]

    async def _on_approval_request(self, frame: protocol.ApprovalRequest) -> None:
        self.state.asking.add(frame.id)
        answers: list[Frame] = []
        try:
            answers = await self.budget.run(approvals.register, self.connection, frame)
        finally:
            self.answers.append(functools.partial(self._send_registration, frame.id, answers))

    async def _send_registration(self, id: str, answers: list[Frame]) -> None:
        try:
            for answer in answers:
                await self._answer(answer)
        finally:
            if self.state.registered(id):
                self.subscription.wake()

    async def _on_terminal(self, frame: protocol.Terminal) -> None:
        # Tell the feeder that this worker ends the attempt, so that it does not report the end as another's.
        self.ending = True
        try:
            await self.budget.run(terminal.end, self.connection, frame)
        except Exception:
            self.ending = False
            self.subscription.wake()
            raise
        if not self.offer.plain:
            self._queue_answer(protocol.TerminalAck(status=frame.status))
        raise CloseConnection(Close.DONE, frame.status)

    # --- outgoing frames ------------------------------------------------------------------------------------

    async def _feed(self) -> None:
        only_answers = answers(self.connection.session_id)
        messages_due = True
        while True:
            messages_due = not self.subscription.heard_only(only_answers) or messages_due
            try:
                if self.ending:  # Its own end has nothing to tell it.
                    await self.subscription.wait(LIMITS.send_timeout_secs)
                    continue
                for frame in await run_in_threadpool(outgoing.urgent, self.connection, self.state):
                    await self._answer(frame)
                messages_due = messages_due and await self._messages()
                if messages_due or self.state.is_owed:
                    continue
            except ConnectionRejected:
                if self.ending:  # The worker is about to close with the better reason.
                    await asyncio.sleep(LIMITS.send_timeout_secs)
                raise
            except PeerDisconnected:  # The worker handles the last frames and ends the connection.
                return
            except DatabaseError:
                # This is no fault of the child, and a reconnect would not help: read again at the next poll.
                log.warning("a connection could not read its rows", exc_info=True)
            await self.subscription.wait(LIMITS.connection_poll_secs)

    async def _messages(self) -> bool:
        """Write the next messages. Stop at a wake-up, because a cancel never waits behind messages.

        Return True if there may be more.
        """
        waiting = await run_in_threadpool(messages.waiting, self.connection, self.state.message_seq)
        for seq, message in waiting:
            await self._answer(message)
            self.state.message_seq = seq
            if self.subscription.is_woken:
                return True
        return bool(waiting)

    async def _answer(self, frame: Frame) -> None:
        await self.transport.send(frame)
        match frame:
            case protocol.Cancel():
                await run_in_threadpool(outgoing.note_cancel, self.connection)
            case protocol.Run() if self.offer.plain:
                await run_in_threadpool(run.acknowledge, self.connection)
            case protocol.Message() if self.offer.plain:
                await run_in_threadpool(messages.admit, self.connection, [frame.id])
            case protocol.ApprovalReply():
                self.state.decisions.add(frame.id)
                if self.offer.plain:
                    await run_in_threadpool(approvals.settle_plain, self.connection, frame)


async def _until_one_fails(*work: Coroutine[Any, Any, None]) -> None:
    """Run all coroutines. The first exception cancels the others and is raised."""
    try:
        async with asyncio.TaskGroup() as group:
            for each in work:
                group.create_task(each)
    except BaseExceptionGroup as failed:
        # Later exceptions are of tasks that were being cancelled.
        raise failed.exceptions[0] from None


def _closing(error: Exception) -> CloseConnection:
    """Return the close code and reason for an exception. After a server error the child may reconnect."""
    match error:
        case CloseConnection():
            return error
        case ConnectionRejected():
            return CloseConnection(error.code, error.reason)
        case DatabaseError():
            log.warning("a connection is closed: the database does not answer", exc_info=error)
            return CloseConnection(Close.TRY_AGAIN, f"retry after {RETRY_SECS} seconds: the database does not answer")
    if reason := outages.reason(error):
        log.warning("a connection is closed: %s", reason, exc_info=error)
        return CloseConnection(Close.TRY_AGAIN, f"retry after {RETRY_SECS} seconds: {reason}")
    log.error("a connection is closed after an unexpected error", exc_info=error)
    return CloseConnection(Close.PING_TIMEOUT, f"retry after {RETRY_SECS} seconds: internal error")


def _events(frame: Frame | UnknownKind) -> int:
    return len(frame.events) if isinstance(frame, protocol.EventBatch) else 1


def _unknown(unknown: UnknownKind) -> protocol.Error:
    return protocol.Error(code="unknown-kind", detail=str(unknown), ref=unknown.kind[:64])


def _refusal(frame: Frame | UnknownKind, code: str, detail: str) -> protocol.Error:
    """Return the error frame. Its `ref` is the id by which the sender can match the refused frame."""
    ref = frame.kind[:64] if isinstance(frame, UnknownKind) else getattr(frame, "id", "") or frame.__struct_config__.tag
    return protocol.Error(code=code, detail=detail, ref=str(ref))
