"""The states of a session and all transitions between them, in one table (h11's Rule 1: end states are written out).

Guards, CHECK constraints, the admin's choices and the page in docs are derived from this file.
"""

from __future__ import annotations

from django.db import models


class Status(models.TextChoices):
    """The status of a session. An attempt uses the same values."""

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

#: The states in which an attempt is over. Its end is final, while a session may be queued again with a new attempt.
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
    # Only `retry`, `run` or a starting message leaves an end state, always with a new attempt.
    **{end: frozenset({Status.QUEUED}) for end in sorted(TERMINAL)},
}


def sources(to: Status) -> list[str]:
    """Return the states with a transition to `to`."""
    return sorted(start.value for start, ends in ARROWS.items() if to in ends)


class Runner(models.TextChoices):
    """The built-in ways to launch an attempt. Installed packages add others, see `orchestration.runners.registry`."""

    PROCESS = "process", "a process on the worker's host"
    EXTERNAL = "external", "started by the caller"


#: Characters of a runner's name.
LONGEST_RUNNER = 64


class WaitFor(models.TextChoices):
    """The condition that resumes a suspended parent."""

    ALL = "all", "when every child has ended"
    ANY = "any", "when one child has ended"
    FIRST_ERROR = "first_error", "at the first failure, or when all have ended"
