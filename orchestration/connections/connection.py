"""One connection of a child, from its handshake to its end, without a framework: `Peer` is all that it needs.

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
from typing import Any, Protocol

from django.db import DatabaseError, DataError, IntegrityError

from approvals import audit_events
from core.concurrency.threadpool import run_in_threadpool
from core.db import outages
from core.limits import LIMITS
from core.web.problems import Problem
from ledger import ephemeral_events, hub
from orchestration.connections import approvals, backpressure, fencing, handshake, messages, outgoing, run, terminal
from orchestration.connections import events as connection_events
from orchestration.connections.closing import close_for
from orchestration.connections.fencing import Claim, ConnectionRejected, Principal, disconnect, replaced
from orchestration.connections.handshake import Offer
from orchestration.connections.outgoing import ConnectionState
from orchestration.connections.transport import CloseConnection, Inbox, PeerDisconnected
from wardroom import protocol
from wardroom.protocol import Close, Frame, FrameRefused, UnknownKind

log = logging.getLogger(__name__)
TOUCH_SECS = 1.0
# Event frames are committed together up to these limits, so that no commit takes long.
MERGED_EVENTS, MERGED_CHARACTERS = 256, 256 * 1024


class Peer(Protocol):
    """The other side: the texts that come from a child, and the frames that go to it. `Transport` is one."""

    async def accept(self, subprotocol: str | None) -> None:
        """Accept the handshake, also one that will be refused."""

    async def read(self, inbox: Inbox) -> None:
        """Put every text into the inbox, and at the end the CloseConnection that says why there are no more."""

    async def send(self, frame: Frame) -> None:
        """Write one frame. Raises PeerDisconnected when the peer has left, CloseConnection when it does not read."""

    async def close(self, code: int, reason: str) -> None:
        """Close with a code and reason. It never fails."""


class Connection:
    """One connection of one child, from handshake to close."""

    claim: Claim
    subscription: hub.Subscription

    def __init__(self, offer: Offer, address: str, peer: Peer) -> None:
        self.offer = offer
        self.address = address
        self.peer = peer
        self.inbox = Inbox()
        self.state = ConnectionState()
        self.budget = backpressure.Budget()
        self.answers: list[Callable[[], Coroutine[Any, Any, None]]] = []
        self.is_live = self.ending = False
        self.touched = 0.0

    async def serve(self, session: str) -> None:
        """Run the connection of this session's child to its end."""
        try:
            await self.peer.accept(self.offer.subprotocol)
            principal = await handshake.admit(self.offer, self.address, session)
            if not self.offer.understood:
                raise CloseConnection(Close.NOT_PROTOCOL, f"offer {protocol.V1} or {protocol.PLAIN}")
            with backpressure.count_socket(principal.session_id):
                await _until_one_fails(self.peer.read(self.inbox), self._connected(principal))
        except Exception as error:
            end = close_for(error)
            if end.code is not None:
                await self.peer.close(end.code, end.reason)
        finally:
            await self._record_disconnect()

    async def _record_disconnect(self) -> None:
        """Record that the connection is lost.

        Retry until it is written: without the record the session would look live.
        """
        while self.is_live:
            try:
                await asyncio.shield(run_in_threadpool(disconnect, self.claim))
                return
            except DatabaseError:
                log.warning("the end of a connection could not be recorded", exc_info=True)
            await asyncio.sleep(LIMITS.heartbeat_secs)

    async def _connected(self, principal: Principal) -> None:
        if not self.offer.plain:
            await self._hello(principal)
        backpressure.count_connection(principal.session_id)
        self.claim = await run_in_threadpool(fencing.claim, principal, plain=self.offer.plain)
        self.is_live = True
        # Listen after the claim, which ends in a wake-up for others, and before the first look.
        session_id = principal.session_id
        topics = (
            f"session:{session_id}",
            audit_events.answers(session_id),
            audit_events.policy(principal.project_id),
            replaced(session_id, self.claim.number),
        )
        async with hub.get().listen(*topics) as self.subscription:
            if not self.offer.plain:
                await self.peer.send(await run_in_threadpool(run.welcome, self.claim))
            try:
                await _until_one_fails(self._work(), self._feed())
            except ConnectionRejected:
                for frame in await run_in_threadpool(outgoing.final_frames, self.claim, self.state):
                    await self.peer.send(frame)
                raise

    async def _hello(self, principal: Principal) -> None:
        try:
            async with asyncio.timeout(LIMITS.hello_secs):
                while isinstance(hello := self._decode(await self.inbox.take()), UnknownKind):
                    await self.peer.send(_unknown(hello))
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
            log.error("a frame of %s was refused by the database", self.claim.session_id, exc_info=error)
            self._queue_answer(_refusal(frame, "invalid", "This frame holds a value that cannot be stored."))

    def _queue_answer(self, *frames: Frame) -> None:
        """Queue answers. They are written when the frame's memory is released."""
        self.answers += (functools.partial(self.peer.send, frame) for frame in frames)

    async def _dispatch(self, frame: Frame | UnknownKind) -> None:  # noqa: C901, PLR0912 - a case for each frame
        if isinstance(frame, Frame):
            protocol.refuse_oversize(frame)
        match frame:
            case protocol.EventFrame() | protocol.EventBatch() | protocol.PlainEvent():
                await self._on_events(frame)
            case protocol.ApprovalRequest():
                await self._on_approval_request(frame)
            case protocol.ApprovalAck():
                self._queue_answer(*await self.budget.run(approvals.acknowledge, self.claim, frame))
            case protocol.ApprovalWithdraw():
                await self.budget.run(approvals.withdraw, self.claim, frame)
            case protocol.ApprovalAnswer():
                self._queue_answer(await self.budget.run(approvals.answer, self.claim, frame))
            case protocol.MessageAdmitted():
                await self.budget.run(messages.admit, self.claim, frame.ids)
            case protocol.Send():
                outcome = await self.budget.run(messages.send, self.claim, frame)
                self._queue_answer(protocol.SendAck(id=frame.id, outcome=outcome))
            case protocol.RunAck():
                await self.budget.run(run.acknowledge, self.claim)
            case protocol.Transcript():
                kept = await self.budget.run(run.keep_transcript, self.claim, frame)
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
        """Publish the ephemeral events, which are not stored, and store the rest."""
        keep = connection_events.accept_plain if self.offer.plain else connection_events.accept
        events = connection_events.numbered(frames)
        self.budget.spend(0, len(events))
        passing = [event for event in events if event.qos == "ephemeral"]
        for event in passing:
            ephemeral_events.show(self.claim.session_id, event.as_ephemeral(self.claim))
        # A stream of tokens shows activity, but each token is not worth a commit.
        if passing and time.monotonic() - self.touched > TOUCH_SECS:
            self.touched = time.monotonic()
            await self.budget.run(connection_events.touch, self.claim)
        lasting = [event for event in events if event.qos != "ephemeral"]
        if lasting:
            acked = await self.budget.run(keep, self.claim, lasting)
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

    async def _on_approval_request(self, frame: protocol.ApprovalRequest) -> None:
        self.state.asking.add(frame.id)
        answers: list[Frame] = []

        async def send() -> None:
            try:
                for answer in answers:
                    await self._answer(answer)
            finally:
                if self.state.registered(frame.id):
                    self.subscription.wake()

        try:
            answers = await self.budget.run(approvals.register, self.claim, frame)
        finally:
            self.answers.append(send)

    async def _on_terminal(self, frame: protocol.Terminal) -> None:
        # Tell the feeder that this worker ends the attempt, so that it does not report the end as another's.
        self.ending = True
        try:
            await self.budget.run(terminal.end, self.claim, frame)
        except Exception:
            self.ending = False
            self.subscription.wake()
            raise
        if not self.offer.plain:
            self._queue_answer(protocol.TerminalAck(status=frame.status))
        raise CloseConnection(Close.DONE, frame.status)

    # --- outgoing frames ------------------------------------------------------------------------------------

    async def _feed(self) -> None:
        only_answers = audit_events.answers(self.claim.session_id)
        messages_due = True
        # They count as sent. Those behind one that could not be recorded are written after the next look.
        due: list[Frame] = []
        while True:
            messages_due = not self.subscription.heard_only(only_answers) or messages_due
            try:
                if self.ending:  # Its own end has nothing to tell it.
                    await self.subscription.wait(LIMITS.send_timeout_secs)
                    continue
                due += await run_in_threadpool(outgoing.urgent, self.claim, self.state)
                while due:
                    await self._answer(due.pop(0))
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
        waiting = await run_in_threadpool(messages.waiting, self.claim, self.state.message_seq)
        for seq, message in waiting:
            await self._answer(message)
            self.state.message_seq = seq
            if self.subscription.is_woken:
                return True
        return bool(waiting)

    async def _answer(self, frame: Frame) -> None:
        await self.peer.send(frame)
        match frame:
            case protocol.Cancel():
                await run_in_threadpool(outgoing.note_cancel, self.claim)
            case protocol.Run() if self.offer.plain:
                await run_in_threadpool(run.acknowledge, self.claim)
            case protocol.Message() if self.offer.plain:
                await run_in_threadpool(messages.admit, self.claim, [frame.id])
            case protocol.ApprovalReply():
                self.state.decisions.add(frame.id)
                if self.offer.plain:
                    await run_in_threadpool(approvals.settle_plain, self.claim, frame)


async def _until_one_fails(*work: Coroutine[Any, Any, None]) -> None:
    """Run all coroutines. The first exception cancels the others and is raised."""
    try:
        async with asyncio.TaskGroup() as group:
            for each in work:
                group.create_task(each)
    except BaseExceptionGroup as failed:
        # Later exceptions are of tasks that were being cancelled.
        raise failed.exceptions[0] from None


def _events(frame: Frame | UnknownKind) -> int:
    return len(frame.events) if isinstance(frame, protocol.EventBatch) else 1


def _unknown(unknown: UnknownKind) -> protocol.Error:
    return protocol.Error(code="unknown-kind", detail=str(unknown), ref=unknown.kind[:64])


def _refusal(frame: Frame | UnknownKind, code: str, detail: str) -> protocol.Error:
    """Return the error frame. Its `ref` is the id by which the sender can match the refused frame."""
    ref = frame.kind[:64] if isinstance(frame, UnknownKind) else getattr(frame, "id", "") or frame.__struct_config__.tag
    return protocol.Error(code=code, detail=detail, ref=str(ref))
