"""A session's states, and every arrow between them, in one table (h11's Rule 1: end states are written out).

Guards, CHECK constraints, the choices of the admin and the page in docs all derive from this file.
"""

from __future__ import annotations

from django.db import models


class Status(models.TextChoices):
    """Where a session stands. An attempt uses the same words."""

    QUEUED = "queued"
    STARTING = "starting"
    RUNNING = "running"
    SUSPENDED = "suspended"
    COMPLETED = "completed"
    ERROR = "error"
    TIMEOUT = "timeout"
    CANCELLED = "cancelled"
    SKIPPED = "skipped"


TERMINAL = frozenset({Status.COMPLETED, Status.ERROR, Status.TIMEOUT, Status.CANCELLED, Status.SKIPPED})

#: An attempt is over in these; for ever, while a session may be queued again with a new attempt.
ENDED = TERMINAL | {Status.SUSPENDED}

ARROWS: dict[Status, frozenset[Status]] = {
    Status.QUEUED: frozenset({Status.STARTING, Status.CANCELLED, Status.SKIPPED, Status.ERROR}),
    Status.STARTING: frozenset({Status.RUNNING, Status.QUEUED, Status.ERROR, Status.TIMEOUT, Status.CANCELLED}),
    Status.RUNNING: frozenset(
        {
            Status.SUSPENDED,
            Status.QUEUED,
            Status.COMPLETED,
            Status.ERROR,
            Status.TIMEOUT,
            Status.CANCELLED,
        }
    ),
    Status.SUSPENDED: frozenset({Status.QUEUED, Status.CANCELLED, Status.ERROR}),
    # Back from an end only by `retry`, `run` or a message that starts it: always a new attempt.
    **{end: frozenset({Status.QUEUED}) for end in sorted(TERMINAL)},
}


def sources(to: Status) -> list[str]:
    """The states that have an arrow into `to`."""
    return sorted(start.value for start, ends in ARROWS.items() if to in ends)


class Runner(models.TextChoices):
    """How an attempt is launched."""

    PROCESS = "process", "a process on the worker's host"
    EXTERNAL = "external", "started by the caller"
    POOL = "pool", "taken by a pool's member"


class WaitFor(models.TextChoices):
    """When a suspended parent is resumed."""

    ALL = "all", "when every child has ended"
    ANY = "any", "when one child has ended"
    FIRST_ERROR = "first_error", "at the first failure, or when all have ended"
