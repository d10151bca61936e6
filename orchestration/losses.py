"""When a line is lost, a process ends without a word, or a child does not heed its cancel.

The grace of a line counts from its disconnect, or from the last heartbeat of the web process that held it, and anew
from the end of an outage of Wardroom itself. While no web process is alive at all, nobody is judged: there is nothing
that a child could come back to.
"""

from datetime import datetime
from uuid import UUID

from django.conf import settings
from django.db.models import F, QuerySet
from django.db.models.functions import Coalesce
from django.db.models.lookups import LessThan

from accounts.clock import later
from ledger import journal, sweeps
from orchestration import attempts, keeping, lifecycle, rounds
from orchestration.models import Attempt, Session, WebProcess
from orchestration.states import Status

Row = tuple[UUID, int]

#: When the line of a running attempt was last there.
GONE_AT = Coalesce("line_lost_at", "web_process__heartbeat_at", "line_since", "running_at")


def sweep(limit: int = 200, *, now: datetime | None = None) -> int:
    """Cancels whose grace is over, processes that ended silently, lines whose grace is over; in this order."""
    done = rounds.each(_uncooperative(limit, now), lambda row: end_cancelled(*row, now=now))
    done += rounds.each(_exited(limit, now), lambda row: keeping.judge_exit(*row, now=now))
    if web_is_there(now=now):
        done += rounds.each(_lost(limit, now), lambda row: end_lost(*row, now=now))
    return done


def web_is_there(*, now: datetime | None = None) -> bool:
    """Whether some web process lives, and has lived for long enough for children to come back to it."""
    lease, grace = settings.WARDROOM["heartbeat_lease_secs"], settings.WARDROOM["line_grace_secs"]
    if WebProcess.objects.filter(heartbeat_at__gt=later(-lease, now)).exists():
        sweeps.note_life(sweeps.HEARTBEATS, now=now)
    return not sweeps.silent_now(sweeps.HEARTBEATS, now=now) and not rounds.just_back(grace, now=now)


def _overdue(now: datetime | None) -> QuerySet[Attempt]:
    """Running attempts without a line for longer than the grace."""
    grace = settings.WARDROOM["line_grace_secs"]
    running = Attempt.objects.filter(status=Status.RUNNING, session__attempt=F("number"))
    return running.filter(LessThan(GONE_AT, later(-grace, now)))


def _lost(limit: int, now: datetime | None) -> list[Row]:
    return list(_overdue(now).order_by(GONE_AT).values_list("session_id", "number")[:limit])


def end_lost(session_id: UUID, number: int, *, now: datetime | None = None) -> bool:
    """Try again or end in error, unless the child has come back: its reconnect takes the same lock."""
    with journal.transaction():
        attempts.lock(session_id)
        if not _overdue(now).filter(session=session_id, number=number).exists():
            return False
        secs = settings.WARDROOM["line_grace_secs"]
        return lifecycle.fail(session_id, number, f"line lost for {secs} s", now=now)


def _exited(limit: int, now: datetime | None) -> list[Row]:
    """Processes that ended, whose last words had time to arrive over the line."""
    silent = Attempt.objects.filter(
        status__in=[Status.STARTING, Status.RUNNING], exited_at__lt=later(-keeping.LAST_WORDS_SECS, now)
    )
    return list(silent.values_list("session_id", "number")[:limit])


def _told_to_stop(now: datetime | None) -> QuerySet[Session]:
    grace = settings.WARDROOM["cancel_grace_secs"]
    running = Session.objects.filter(status__in=[Status.STARTING, Status.RUNNING])
    return running.filter(cancel_requested_at__lt=later(-grace, now))


def _uncooperative(limit: int, now: datetime | None) -> list[Row]:
    if rounds.just_back(settings.WARDROOM["cancel_grace_secs"], now=now):
        return []
    return list(_told_to_stop(now).values_list("pk", "attempt")[:limit])


def end_cancelled(session_id: UUID, number: int, *, now: datetime | None = None) -> bool:
    """The grace of a cancel is over: the kill is due at once, and the session is cancelled."""
    with journal.transaction():
        session = attempts.lock(session_id)
        if not _told_to_stop(now).filter(pk=session_id).exists():
            return False
        why = session.cancel_reason
        return lifecycle.finish(session_id, number, Status.CANCELLED, error=why, kill_in=0, now=now)
