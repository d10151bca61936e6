"""The frames that a child must send, awaits and has received, over any number of connections.

Every frame that needs an answer is tracked until the answer comes, and sent again on each new connection. An answer may
arrive on any connection, before or after a caller waits for it.
"""

import asyncio
import logging
from collections.abc import Callable, Generator, Iterable
from functools import partial
from typing import Any, Literal

from wardroom import protocol
from wardroom.admitted.admissions import Admissions
from wardroom.connection import Connection, End
from wardroom.event_buffer import EventBuffer
from wardroom.history import History, HistoryItem
from wardroom.identity import Identity
from wardroom.protocol import Frame, Hello, Message, MessageAdmitted, Run, Welcome
from wardroom.queries import Queries

log = logging.getLogger("wardroom.wire")

FLUSH_SECS = 0.05
# The most ids of one report.
ADMITTED_AT_ONCE = 1000
TERMINAL = "terminal"


class Ended(Exception):
    """This attempt is over, or Wardroom is out of reach for good: stop working."""

    def __init__(self, end: End) -> None:
        super().__init__(f"{end.reason or 'the connection was closed'} ({int(end.code)})")
        self.end = end


class Cancelled(Exception):
    """Wardroom asked the child to stop while it waited."""


class Refused(Exception):
    """Wardroom refused a frame. `code` is the reason."""

    def __init__(self, code: str, detail: str) -> None:
        super().__init__(f"{code}: {detail}")
        self.code = code
        self.detail = detail


class Cancellation:
    """The request to stop. `await child.cancelled` waits for it."""

    def __init__(self) -> None:
        self._event = asyncio.Event()
        self.reason = ""
        self.grace_secs = 20.0
        #: `cancelled`, `watchdog` (a limit was exceeded), or `lost` (the attempt is over or out of reach).
        self.cause: Literal["cancelled", "watchdog", "lost"] = "cancelled"
        #: Called once, before anybody who waits goes on.
        self.listener: Callable[[], None] = lambda: None

    def is_set(self) -> bool:
        """Return True when the child should stop now, and end with its current result."""
        return self._event.is_set()

    def __await__(self) -> Generator[Any, None, bool]:
        return self._event.wait().__await__()

    def set(
        self, reason: str, grace_secs: float, cause: Literal["cancelled", "watchdog", "lost"] = "cancelled"
    ) -> None:
        """Request the stop. The first cause stays."""
        is_first = not self.is_set()
        if is_first:
            self.cause = cause
        self.reason, self.grace_secs = reason, grace_secs
        self._event.set()
        if is_first:
            self.listener()


class Wire:
    """The state of one attempt's conversation. `connection` is the current connection."""

    def __init__(self, identity: Identity, admissions: Admissions, client: str, unreachable_secs: float) -> None:
        self.identity = identity
        self.admissions = admissions
        self.cancelled = Cancellation()
        self.end: End | None = None
        self.run: Run | None = None
        self.inbox: dict[str, Message] = {}
        #: Questions about pending approvals that no handler has taken yet.
        self.questions: dict[str, protocol.ApprovalQuestion] = {}
        self.max_frame_bytes = protocol.FRAME_BYTES
        self.acked_at_start: int | None = None
        self.refused_events: Refused | None = None
        self.buffer = EventBuffer()
        self.queries = Queries(self.reply)

        def hello() -> Hello:
            return Hello(attempt=identity.attempt, client=client, need_run=True if self.run is None else None)

        self.connection = Connection(
            identity, hello, self._opened, self._arrived, self.buffer.connection_lost, unreachable_secs
        )
        self._tracked: dict[tuple[str, str], Frame] = {}
        self._answers: dict[tuple[str, str], Any] = {}
        self._waiting: set[asyncio.Future[None]] = set()
        self._history = History()
        self._flusher: asyncio.Task[None] | None = None

    # --- sending -----------------------------------------------------------------------------------------------------

    def event(self, event: protocol.Event) -> None:
        """Put an event into its buffer. The caller has checked that there is room."""
        # For lossy events a connection that has fallen behind counts as down.
        online = self.connection.online and not self.connection.behind and not self.buffer.behind
        if protocol.qos_of(event["type"]) == "durable":
            self.connection.send(*self.buffer.durable(event, online=online))
            return
        self.connection.send(*self.buffer.lossy(event, online=online))
        if self.buffer.pending and (self._flusher is None or self._flusher.done()):
            self._flusher = asyncio.create_task(self._flush_soon())

    async def _flush_soon(self) -> None:
        await asyncio.sleep(FLUSH_SECS)
        if self.connection.online and not self.connection.behind and not self.buffer.behind:
            self.connection.send(*self.buffer.flush())

    def track(self, kind: str, id: str, frame: Frame) -> None:
        """Send a frame now and on every new connection until it is answered."""
        self._answers.pop((kind, id), None)
        self._tracked[kind, id] = frame
        self.connection.send(frame)

    def drop(self, kind: str, id: str) -> None:
        """Stop tracking a frame: its answer no longer matters."""
        self._tracked.pop((kind, id), None)

    def add_items(self, items: list[protocol.Item]) -> list[HistoryItem]:
        """Send items of history. Each one knows when it is settled."""
        added = [HistoryItem(item) for item in items]
        frames = self._history.add(added)
        # Without a connection nothing is in flight: the next one begins with all pending items.
        self.connection.send(*frames)
        return added

    async def reply(self, message: Message, answer: Any) -> None:
        """Answer an ask, and only then mark it admitted: a child that restarts in between is asked again.

        Raises Refused. The code `already-answered` means that an earlier process of this child answered, and that
        answer counts.
        """
        id = f"reply:{message.id}"[:256]
        # Correlate by the ask's own id: any sender may reuse the correlation id of another ask.
        frame = protocol.Send(id=id, message_kind="reply", body={"answer": answer}, correlation_id=message.id)
        self.track("send", id, frame)
        try:
            await self.answer("send", id)
        except Refused as refusal:
            if refusal.code == "already-answered":
                self._admit(message)
            raise
        self._admit(message)

    def _admit(self, message: Message) -> None:
        if message.id not in self.admissions:
            self.admissions.note([message.id])
            self.connection.send(MessageAdmitted(ids=[message.id]))

    # --- waiting -----------------------------------------------------------------------------------------------------

    async def answer(self, kind: str, id: str, *, heed_cancel: bool = False) -> Any:
        """Return the answer to a tracked frame. Raises Refused, Ended, and Cancelled when `heed_cancel`."""
        await self.until(lambda: (kind, id) in self._answers, heed_cancel=heed_cancel)
        # Only the answer to an approval request is kept, for a caller that repeats the request.
        answer = self._answers[kind, id] if kind == "ask" else self._answers.pop((kind, id))
        if isinstance(answer, Refused):
            raise answer
        return answer

    def has_answer(self, kind: str, id: str) -> bool:
        """Return True when the answer is already here."""
        return not isinstance(self._answers.get((kind, id), Refused("", "")), Refused)

    async def until(self, true: Callable[[], bool], *, heed_cancel: bool = False) -> None:
        """Wait until `true()` is true. Raises Ended when it cannot become true, Cancelled when `heed_cancel`."""
        while not true():
            if self.end is not None:
                raise Ended(self.end)
            if heed_cancel and self.cancelled.is_set():
                raise Cancelled(self.cancelled.reason)
            change: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            self._waiting.add(change)
            try:
                await change
            finally:
                self._waiting.discard(change)

    def wake(self) -> None:
        """Wake every waiting caller to check its condition again."""
        for change in self._waiting:
            if not change.done():
                change.set_result(None)

    def settle(self, kind: str, id: str, answer: Any) -> None:
        """Store an answer and stop tracking its frame."""
        self._tracked.pop((kind, id), None)
        self._answers[kind, id] = answer

    # --- receiving ---------------------------------------------------------------------------------------------------

    def _opened(self, welcome: Welcome) -> Iterable[Frame]:
        """Return the first frames of a connection, in order: admissions, events, history, then all tracked frames."""
        is_first = self.acked_at_start is None
        admissions: list[MessageAdmitted] = []
        if is_first:
            self.acked_at_start = welcome.acked_event_seq
        else:
            self.admissions.confirm(welcome.acked_event_seq)
            # The reports may be lost with the last connection. An event that is sent again must not overtake them.
            admissions = reports(self.admissions.unconfirmed)
        history = self._history.opened(welcome.transcript_next or 0, is_first=is_first)
        self.max_frame_bytes = welcome.limits.max_frame_bytes
        events = self.buffer.welcome(welcome.acked_event_seq, welcome.limits.max_unacked_events)
        self.wake()
        return [*admissions, *events, *history, *self._tracked.values()]

    def _arrived(self, frame: Frame) -> None:
        match frame:
            case Run():
                if self.run is None:
                    self.run = frame
                    self.admissions.read_history(frame.messages)
                    self.connection.send(*reports(self.admissions.unconfirmed))
                self.connection.send(protocol.RunAck())
            case Message():
                if frame.id in self.admissions:  # The acknowledgement was lost with a connection.
                    self.connection.send(MessageAdmitted(ids=[frame.id]))
                elif not self.queries.take(frame):
                    self.inbox.setdefault(frame.id, frame)
            case protocol.ApprovalQuestion():
                self.questions[frame.id] = frame
                self._answer_questions()
            case protocol.Cancel(reason=reason, grace_secs=grace_secs, ended=ended):
                self.cancelled.set(reason, grace_secs, "watchdog" if ended == "timeout" else "cancelled")
            case protocol.EventAck(seq=seq):
                self.buffer.acknowledge(seq)
                self.admissions.confirm(seq)
                self.connection.acknowledged(seq)
            case protocol.TranscriptAck(next=position):
                self.connection.send(*self._history.acknowledge(position))
            case _:
                self._on_answer(frame)
        self.wake()

    def _on_answer(self, frame: Frame) -> None:  # noqa: C901 - a case for each frame
        match frame:
            case protocol.ApprovalReply(id=id):
                self.drop("withdraw", id)
                self.settle("ask", id, frame)
            case protocol.ApprovalConsumed(id=id):
                self.settle("consume", id, frame)
            case protocol.ApprovalAnswered(id=id):
                self.settle("about", id, None)
            case protocol.SendAck(id=id, outcome=outcome):
                self.settle("send", id, outcome)
            case protocol.TerminalAck(status=status):
                self.settle(TERMINAL, TERMINAL, status)
            case protocol.Error(ref=str(ref), code=code, detail=detail):
                if ref in ("event", "event_batch"):
                    first, last = self.connection.refused()
                    self.buffer.drop(first, last)
                    self.refused_events = self.refused_events or Refused(code, detail)
                    log.error("events %d to %d were refused: %s: %s", first, last, code, detail)
                elif ref == "transcript":
                    self.connection.send(*self._history.refuse(frame))
                for kind, id in list(self._tracked):
                    if id == ref:
                        self.settle(kind, id, Refused(code, detail))

    def checkpoint(self) -> list[Message]:
        """Admit the messages for this safe point. Return them."""
        waiting = list(self.turns().values())
        self.inbox.clear()
        fresh = self.admissions.admit(waiting, self.buffer.next_seq - 1)
        self.connection.send(*reports([message.id for message in waiting]))
        return fresh

    def turns(self) -> dict[str, Message]:
        """Return the messages for the next checkpoint.

        A query that came with the run, before its handler, goes to that handler now.
        """
        for message in list(self.inbox.values()):
            if self.queries.take(message):
                del self.inbox[message.id]
        self._answer_questions()
        return self.inbox

    def _answer_questions(self) -> None:
        """Give the questions about approvals to the handler. One whose answer is already on its way is asked again."""
        for id, asked in list(self.questions.items()):
            if ("about", id) in self._tracked or self.queries.take_about(asked, partial(self._reply_about, asked)):
                del self.questions[id]

    async def _reply_about(self, asked: protocol.ApprovalQuestion, answer: Any) -> None:
        """Answer a question about an approval as text. Raises Refused, for example when it is decided already."""
        text = (protocol.text_of(answer) or "no answer")[: protocol.QUESTION_CHARACTERS]
        self.track("about", asked.id, protocol.ApprovalAnswer(id=asked.id, answer=text))
        await self.answer("about", asked.id)


def reports(ids: list[str]) -> list[MessageAdmitted]:
    """Return the frames that report these messages as admitted."""
    starts = range(0, len(ids), ADMITTED_AT_ONCE)
    return [MessageAdmitted(ids=ids[start : start + ADMITTED_AT_ONCE]) for start in starts]
