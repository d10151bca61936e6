"""The history that a child sends: kept until the server has stored it, dropped when the server refuses it."""

from collections import deque
from collections.abc import Iterable

from wardroom.event_buffer import parts
from wardroom.protocol import Error, Item, Transcript


class HistoryItem:
    """One item and its state: sent, stored, or refused."""

    def __init__(self, item: Item) -> None:
        self.item = item
        self.kept = False
        self.refusal: Error | None = None

    @property
    def settled(self) -> bool:
        """True when the server has stored or refused it."""
        return self.kept or self.refusal is not None


class History:
    """The unsettled items of one attempt. Every method returns the frames to send."""

    def __init__(self) -> None:
        self.first = 0
        self._pending: list[HistoryItem] = []
        self._in_flight: deque[tuple[int, list[HistoryItem]]] = deque()

    def add(self, items: Iterable[HistoryItem]) -> list[Transcript]:
        """Append items."""
        fresh = list(items)
        first = self.first + len(self._pending)
        self._pending += fresh
        return self._frames(first, fresh)

    def opened(self, position: int, *, is_first: bool) -> list[Transcript]:
        """Handle a new connection: the server has stored everything before `position`, so send the rest."""
        self._in_flight.clear()
        if is_first:
            self.first = position
        else:
            self._keep(position)
        return self._frames(self.first, self._pending)

    def acknowledge(self, position: int) -> list[Transcript]:
        """Mark everything before `position` as stored."""
        if self._in_flight:
            self._in_flight.popleft()
        self._keep(position)
        return self._again()

    def refuse(self, error: Error) -> list[Transcript]:
        """Handle a refusal of the oldest part in flight.

        Later parts now leave a gap and are refused, too (`conflict`). They are sent again, at their new position.
        """
        first, items = self._in_flight.popleft() if self._in_flight else (self.first, [])
        if error.code != "conflict" or first == self.first:
            for item in items:
                item.refusal = error
            self._pending = [item for item in self._pending if not item.settled]
        return self._again()

    def _keep(self, position: int) -> None:
        kept = self._pending[: max(0, position - self.first)]
        for item in kept:
            item.kept = True
        del self._pending[: len(kept)]
        self.first += len(kept)

    def _again(self) -> list[Transcript]:
        if self._in_flight or not self._pending:
            return []
        return self._frames(self.first, self._pending)

    def _frames(self, first: int, items: list[HistoryItem]) -> list[Transcript]:
        frames: list[Transcript] = []
        for part in parts([item.item for item in items]):
            place = sum(len(frame.items) for frame in frames)
            self._in_flight.append((first + place, items[place : place + len(part)]))
            frames.append(Transcript(first=first + place, items=part))
        return frames
