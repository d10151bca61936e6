"""End children that run too long or go silent.

Both clocks run from `running`, per attempt, and stop while an approval that was requested over the connection is
pending. The idle clock starts again at the end of an outage of Wardroom itself. The total clock does not count the
seconds of outages. A session is checked at its own interval: at whole multiples of `check_interval_secs` since it began
to run, independent of the time of the sweep.
"""

import dataclasses
from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta
from uuid import UUID

from approvals import attempt_clock
from core.db.clock import read_database_clock
from ledger import outages, sweep_batch, unit_of_work
from ledger.sweep_batch import Work
from orchestration.models import Attempt, Session
from orchestration.sessions import lifecycle, transitions
from orchestration.sessions.limits import Limits, limits
from orchestration.states import Status

WORK = Work("watchdog_sweep", "limits")
#: The number of running sessions that one query reads.
PAGE = 500
COLUMNS = ("pk", "running_at", "last_event_at", "session__metadata")


@dataclasses.dataclass(frozen=True, slots=True)
class Clocks:
    """The watchdog's view of a running attempt: the seconds on each clock, and the time since both are stopped."""

    limits: Limits
    total_secs: float
    idle_secs: float
    stopped_since: datetime | None


@dataclasses.dataclass(frozen=True, slots=True)
class Away:
    """The outages of Wardroom itself: the end of the last one, and all of them."""

    ended_at: datetime | None = None
    spans: Sequence[outages.Span] = ()


def away() -> Away:
    """Return the outages that are known now."""
    return Away(outages.ended_at(), outages.spans())


def clocks(session: Session, attempt: Attempt) -> Clocks | None:
    """Return the clocks of a running attempt, or None when it does not run."""
    if attempt.running_at is None or attempt.ended_at is not None:
        return None
    return _clocks(session, attempt, read_database_clock(), away())


def _clocks(session: Session, attempt: Attempt, moment: datetime, away: Away) -> Clocks:
    began = attempt.running_at
    assert began is not None  # noqa: S101 - for the types: only running attempts get here
    waits = attempt_clock.clock(session.pk, attempt.number)
    until = min(moment, waits.waiting_since) if waits.pending and waits.waiting_since else moment
    signs = (began, attempt.last_event_at, waits.last_settled_at, away.ended_at)
    active = max(sign for sign in signs if sign is not None)
    stopped = waits.waited_secs
    for since, back in away.spans:
        both = max(since, began), min(back, until)
        if both[0] < both[1]:
            # The part of the outage in which an approval was pending counts as waited already.
            waited = outages.merged(attempt_clock.waits_within(session.pk, attempt.number, *both))
            stopped += (both[1] - both[0]).total_seconds() - outages.overlap_secs(waited, *both)
    return Clocks(
        limits=limits(session.metadata),
        total_secs=max(0.0, (until - began).total_seconds() - stopped),
        idle_secs=max(0.0, (until - active).total_seconds()),
        stopped_since=waits.waiting_since if waits.pending else None,
    )


def verdict(seen: Clocks) -> str | None:
    """Return the reason to end the attempt, or None.

    The total limit comes first. A pending approval prevents an end.
    """
    if seen.stopped_since is not None:
        return None
    total, idle = int(seen.total_secs), int(seen.idle_secs)
    if total >= seen.limits.max_total_secs:
        return f"Child session timed out after {total} seconds (max_total_secs={seen.limits.max_total_secs})"
    if idle >= seen.limits.max_idle_secs:
        limit = seen.limits.max_idle_secs
        return f"Child session idle timeout after {idle} seconds without events (max_idle_secs={limit})"
    return None


def sweep(*, moment: datetime | None = None) -> int:
    """Check every running session once, as of `moment`, and return how many were ended."""
    at, gaps = moment or read_database_clock(), away()
    found = []
    for session_id in _suspects(at):
        try:
            is_over = _verdict(Session.objects.get(pk=session_id), at, gaps)[1] is not None
        except Exception:
            is_over = True  # `check` raises the error again, for this session alone.
        if is_over:
            found.append(session_id)
    running = Attempt.objects.filter(status=Status.RUNNING).count()
    ending = sweep_batch.brake(WORK, found, running, moment=at)
    return sweep_batch.each(WORK, lambda most: ending, lambda session_id: check(session_id, at, gaps))


def _suspects(moment: datetime) -> Iterator[UUID]:
    """Yield running sessions that are over a limit unless a clock was stopped.

    They are few, so each may cost some queries.
    """
    running = Attempt.objects.filter(status=Status.RUNNING, running_at__isnull=False)
    last = 0
    while page := dict(running.filter(pk__gt=last).order_by("pk").values_list("pk", "session_id")[:PAGE]):
        last = max(page)
        try:
            known = {row[0]: row[1:] for row in running.filter(pk__in=page).values_list(*COLUMNS)}
        except Exception:
            known = {}  # One unreadable row makes the page unreadable: check each row alone.
        for pk, session_id in page.items():
            try:
                began, last_event, metadata = known[pk]
                own = limits(metadata)
                is_suspect = moment - began >= timedelta(seconds=own.max_total_secs)
                is_suspect = is_suspect or moment - (last_event or began) >= timedelta(seconds=own.max_idle_secs)
            except Exception:
                is_suspect = True  # Its row cannot be read.
            if is_suspect:
                yield session_id


def _verdict(session: Session, moment: datetime, away: Away) -> tuple[Attempt, str | None]:
    attempt = Attempt.objects.get(session=session, number=session.attempt)
    if attempt.running_at is None:
        return attempt, None
    # The latest due time of a check. The one at the very start is skipped.
    interval = limits(session.metadata).check_interval_secs
    ticks = int((moment - attempt.running_at).total_seconds() // interval)
    tick = attempt.running_at + timedelta(seconds=ticks * interval)
    return attempt, verdict(_clocks(session, attempt, tick, away)) if ticks > 0 else None


def check(session_id: UUID, moment: datetime, away: Away) -> bool:
    """Check one session under its lock, so that a concurrent event or ask is either seen or too late."""
    with unit_of_work.transaction():
        attempt, why = _verdict(transitions.lock(session_id), moment, away)
        return why is not None and lifecycle.finish(session_id, attempt.number, Status.TIMEOUT, error=why)
