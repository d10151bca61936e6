"""Ending children that ran too long or went silent.

Both clocks run from `running`, per attempt, stand still while an approval asked over the line is pending, and start
anew (the idle one) where an outage of Wardroom itself ended. A session is judged at its own interval: at whole
multiples of `check_interval_secs` since it began to run, whenever the sweep that finds it happens to run.
"""

import dataclasses
from collections.abc import Iterator
from datetime import datetime, timedelta
from uuid import UUID

from accounts.clock import read_database_clock
from approvals import subjects
from ledger import journal, sweeps
from orchestration import attempts, lifecycle, rounds
from orchestration.limits import Limits, limits
from orchestration.models import Attempt, Session
from orchestration.states import Status


@dataclasses.dataclass(frozen=True, slots=True)
class Clocks:
    """What the watchdog sees of a running attempt: seconds on each clock, and since when they stand still."""

    limits: Limits
    total_secs: float
    idle_secs: float
    stopped_since: datetime | None


def clocks(session: Session, attempt: Attempt, *, now: datetime | None = None) -> Clocks | None:
    """Where the clocks of a running attempt stand; None when it does not run."""
    if attempt.running_at is None or attempt.ended_at is not None:
        return None
    return _clocks(session, attempt, read_database_clock(now), sweeps.outage_ended_at())


def _clocks(session: Session, attempt: Attempt, moment: datetime, outage: datetime | None) -> Clocks:
    began = attempt.running_at
    assert began is not None  # noqa: S101 - for the types: only running attempts get here
    waits = subjects.clock(session.pk, attempt.number)
    until = min(moment, waits.waiting_since) if waits.pending and waits.waiting_since else moment
    signs = (began, attempt.last_event_at, waits.last_settled_at, outage)
    active = max(sign for sign in signs if sign is not None)
    return Clocks(
        limits=limits(session.metadata),
        total_secs=max(0.0, (until - began).total_seconds() - waits.waited_secs),
        idle_secs=max(0.0, (until - active).total_seconds()),
        stopped_since=waits.waiting_since if waits.pending else None,
    )


def verdict(seen: Clocks) -> str | None:
    """Why it is to end, or None. Total before idle; nobody is judged while a person is being waited for."""
    if seen.stopped_since is not None:
        return None
    total, idle = int(seen.total_secs), int(seen.idle_secs)
    if total >= seen.limits.max_total_secs:
        return f"Child session timed out after {total} seconds (max_total_secs={seen.limits.max_total_secs})"
    if idle >= seen.limits.max_idle_secs:
        limit = seen.limits.max_idle_secs
        return f"Child session idle timeout after {idle} seconds without events (max_idle_secs={limit})"
    return None


def sweep(*, now: datetime | None = None) -> int:
    """Judge every running session once; how many were ended."""
    moment = read_database_clock(now)
    outage = sweeps.outage_ended_at()
    return rounds.each(list(_suspects(moment)), lambda session_id: judge(session_id, moment, outage))


def _suspects(moment: datetime) -> Iterator[UUID]:
    """Running sessions that are over a limit if nothing stopped a clock: few, so each may cost some queries."""
    running = Attempt.objects.filter(status=Status.RUNNING, running_at__isnull=False)
    columns = ("session_id", "running_at", "last_event_at", "session__metadata")
    for session_id, began, last, metadata in running.values_list(*columns).iterator(chunk_size=500):
        try:
            suspect = _is_suspect(moment, began, last, limits(metadata))
        except Exception:
            suspect = True  # `judge` raises the same error, and the round goes on with the next session.
        if suspect:
            yield session_id


def _is_suspect(moment: datetime, began: datetime, last: datetime | None, own: Limits) -> bool:
    total = moment - began >= timedelta(seconds=own.max_total_secs)
    return total or moment - (last or began) >= timedelta(seconds=own.max_idle_secs)


def judge(session_id: UUID, moment: datetime, outage: datetime | None) -> bool:
    """Judge one session under its lock, so that an event or an ask of this very moment is either seen or late."""
    with journal.transaction():
        session = attempts.lock(session_id)
        attempt = Attempt.objects.get(session=session, number=session.attempt)
        tick = _last_tick(attempt, limits(session.metadata).check_interval_secs, moment)
        why = verdict(_clocks(session, attempt, tick, outage)) if tick else None
        return why is not None and lifecycle.finish(session_id, attempt.number, Status.TIMEOUT, error=why, now=moment)


def _last_tick(attempt: Attempt, interval: int, moment: datetime) -> datetime | None:
    """The latest moment at which this session was due to be judged; the one at its very start is skipped."""
    if attempt.running_at is None:
        return None
    ticks = int((moment - attempt.running_at).total_seconds() // interval)
    return attempt.running_at + timedelta(seconds=ticks * interval) if ticks > 0 else None
