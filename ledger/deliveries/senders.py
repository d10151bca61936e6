"""The senders of each kind of delivery, and the followers that make deliveries from the feed.

An app registers its own at start-up. So this app knows neither mail nor the people of another app.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from uuid import UUID

from ledger.models import Delivery

#: The characters of an error that are kept.
ERROR_CHARACTERS = 500


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """The result of one try. `is_final`: no other try can succeed. `blames`: the receiver is at fault, so it pauses."""

    delivery: UUID
    is_sent: bool
    status: int | None = None
    error: str = ""
    took_ms: int = 0
    pause_secs: float = 0
    is_final: bool = False
    blames: bool = True


#: Sends deliveries on the event loop of a round, without the database. Returns an outcome for each that it tried.
Job = Callable[[], Awaitable[list[Outcome]]]


@dataclass(frozen=True, slots=True)
class Sender:
    """`prepare` reads the rows that a job needs, and returns the job.

    `failed` gets a lane and the outcome that pauses it, in the transaction that records it. It may disable the
    receiver.
    """

    prepare: Callable[[Sequence[Delivery]], Job]
    failed: Callable[[str, Outcome], None] = lambda lane, outcome: None


@dataclass(frozen=True, slots=True)
class Follower:
    """`follow` makes deliveries for new events, and returns their number. `is_wanted`: it has receivers."""

    name: str
    follow: Callable[[], int]
    is_wanted: Callable[[], bool]


#: Kind, the part of a lane before the colon -> its sender.
_senders: dict[str, Sender] = {}
#: The followers of the feed.
followers: list[Follower] = []


def register(kind: str, sender: Sender) -> None:
    """Send deliveries of this kind by this sender."""
    _senders[kind] = sender


def of(lane: str) -> Sender:
    """Return the sender of a lane."""
    return _senders[lane.partition(":")[0]]


def is_wanted() -> bool:
    """Return True while events may become deliveries."""
    return any(each.is_wanted() for each in followers)
