"""A buffer for a child's events: durable events are kept until acknowledged, others may be lost. Order is preserved.

No method waits or writes: each returns the frames to send, in order.
"""

from collections import deque
from collections.abc import Iterator, Sequence
from typing import TypeVar

import msgspec

from wardroom.protocol import BATCH_EVENTS, MAX_UNACKED_EVENTS, Event, EventBatch, EventFrame, Frame, Qos, qos_of

PENDING_EPHEMERAL = 1024
BATCH_BYTES = 256 * 1024

T = TypeVar("T")


class EventBuffer:
    """One attempt's sequence, and its unacknowledged events."""

    def __init__(self) -> None:
        self.next_seq = 1
        self.max_unacked = MAX_UNACKED_EVENTS
        self._unacked: dict[int, EventFrame] = {}
        self._ephemeral: deque[Event] = deque(maxlen=PENDING_EPHEMERAL)
        self._snapshots: dict[str, Event] = {}

    @property
    def full(self) -> bool:
        """True when no further durable event fits until one is acknowledged."""
        return len(self._unacked) >= self.max_unacked

    @property
    def behind(self) -> bool:
        """True when so many events are unacknowledged that lossy ones should not use the connection."""
        return len(self._unacked) > BATCH_EVENTS

    @property
    def unacknowledged(self) -> bool:
        """True while a durable event is uncommitted."""
        return bool(self._unacked)

    @property
    def pending(self) -> bool:
        """True while lossy events wait for a flush."""
        return bool(self._ephemeral or self._snapshots)

    def durable(self, event: Event, *, online: bool) -> list[Frame]:
        """Number and keep a durable event. Pending lossy events are sent before it, or dropped."""
        before = self.flush() if online else []
        self._ephemeral.clear()
        frame = EventFrame(seq=self._take(1), event=event)
        self._unacked[frame.seq] = frame
        return [*before, frame]

    def lossy(self, event: Event, *, online: bool) -> list[Frame]:
        """Queue an ephemeral event, or the latest of a snapshot. A full batch is sent at once.

        Without a connection there is no reader: ephemeral events are dropped, and snapshots keep only the latest.
        """
        if qos_of(event["type"]) == "snapshot":
            self._snapshots.pop(event["type"], None)
            self._snapshots[event["type"]] = event
        elif online:
            self._ephemeral.append(event)
        return self.flush() if online and len(self._ephemeral) >= BATCH_EVENTS else []

    def flush(self) -> list[Frame]:
        """Return all pending lossy events as batches."""
        frames = [
            *self._batches("ephemeral", list(self._ephemeral)),
            *self._batches("snapshot", list(self._snapshots.values())),
        ]
        self._ephemeral.clear()
        self._snapshots.clear()
        return frames

    def welcome(self, acked: int, max_unacked: int) -> list[Frame]:
        """Handle a new connection: drop the committed events, and return the rest in order."""
        self.acknowledge(acked)
        self.max_unacked = max_unacked
        self.next_seq = max(self.next_seq, acked + 1)
        return [*self._unacked.values(), *self.flush()]

    def acknowledge(self, seq: int) -> None:
        """Drop every durable event up to `seq`, which are committed."""
        for known in list(self._unacked):
            if known > seq:
                return
            del self._unacked[known]

    def drop(self, first: int, last: int) -> None:
        """Drop these events, which the server refuses."""
        for seq in range(first, last + 1):
            self._unacked.pop(seq, None)

    def connection_lost(self) -> None:
        """Drop ephemeral events: their readers are gone."""
        self._ephemeral.clear()

    def _take(self, count: int) -> int:
        first = self.next_seq
        self.next_seq += count
        return first

    def _batches(self, qos: Qos, events: list[Event]) -> Iterator[Frame]:
        for part in parts(events):
            first = self._take(len(part))
            yield EventBatch(first_seq=first, last_seq=first + len(part) - 1, qos=qos, events=part)


def take_run(queue: deque[Frame]) -> Frame:
    """Return the next frame of the send queue. Consecutive durable events at its head become one batch."""
    head = queue.popleft()
    if not isinstance(head, EventFrame):
        return head
    run, size = [head], len(msgspec.json.encode(head))
    while len(run) < BATCH_EVENTS and queue:
        following = queue[0]
        if not isinstance(following, EventFrame) or following.seq != run[-1].seq + 1:
            break
        size += len(msgspec.json.encode(following))
        if size > BATCH_BYTES:
            break
        run.append(following)
        queue.popleft()
    if len(run) == 1:
        return head
    events = [frame.event for frame in run]
    return EventBatch(first_seq=head.seq, last_seq=run[-1].seq, qos="durable", events=events)


def parts(items: Sequence[T]) -> Iterator[list[T]]:
    """Split into parts of at most 64 items and about 256 KiB."""
    part: list[T] = []
    size = 0
    for item in items:
        length = len(msgspec.json.encode(item))
        if part and (len(part) >= BATCH_EVENTS or size + length > BATCH_BYTES):
            yield part
            part, size = [], 0
        part.append(item)
        size += length
    if part:
        yield part
