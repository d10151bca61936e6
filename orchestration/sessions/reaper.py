"""End attempts that lost their connection, exited without a terminal frame, or ignored their cancel.

The grace of a connection counts from its disconnect, or from the last heartbeat of the web process that held it, and
starts again at the end of an outage of Wardroom itself. While no web process is alive, no attempt is ended: a child has
nothing to reconnect to.
"""

from collections.abc import Callable
from datetime import datetime
from uuid import UUID

from django.db.models import F, QuerySet
from django.db.models.functions import Coalesce
from django.db.models.lookups import LessThan

from core.db.clock import later, read_database_clock
from core.limits import LIMITS
from ledger import outages, sweep_batch, unit_of_work
from ledger.sweep_batch import Work
from orchestration.models import Attempt, Session, WebProcess
from orchestration.sessions import clock_steps, lifecycle, supervisor_reports, transitions
from orchestration.states import Status

Row = tuple[UUID, int]
CANCELS, EXITS, CONNECTIONS = (Work("connections_sweep", name) for name in ("cancels", "exits", "lost connections"))

#: The last time at which a running attempt had a connection.
LAST_CONNECTED_AT = Coalesce("connection_lost_at", "web_process__heartbeat_at", "connection_since", "running_at")


def sweep(limit: int = 200, *, moment: datetime | None = None) -> int:
    """End cancels with an expired grace, then silent exits, then connections with an expired grace."""
    at = moment or read_database_clock()
    clock_steps.correct_future()
    stop: Callable[[Row], int] = lambda row: end_cancelled(*row, at)  # noqa: E731
    end_exited: Callable[[Row], int] = lambda row: supervisor_reports.end_exited(*row)  # noqa: E731
    is_back = outages.just_back(LIMITS.cancel_grace_secs, at)
    uncooperative = _told_to_stop(at).order_by("cancel_requested_at").values_list("pk", "attempt")
    done = sweep_batch.each(CANCELS, lambda most: [] if is_back else list(uncooperative[:most]), stop, limit=limit)
    # The last frames of an exited process had time to arrive over the connection.
    silent = Attempt.objects.filter(
        status__in=[Status.STARTING, Status.RUNNING], exited_at__lt=later(-supervisor_reports.LAST_WORDS_SECS, at)
    )
    exits = silent.order_by("exited_at").values_list("session_id", "number")
    done += sweep_batch.each(EXITS, lambda most: list(exits[:most]), end_exited, limit=limit)
    if is_web_alive(at):
        running = Attempt.objects.filter(status=Status.RUNNING).count()
        lost = list(_overdue(at).order_by(LAST_CONNECTED_AT).values_list("session_id", "number"))
        ending = sweep_batch.brake(CONNECTIONS, lost, running, moment=at)
        done += sweep_batch.each(CONNECTIONS, lambda most: ending[:most], lambda row: end_lost(*row, at), limit=limit)
    return done


def is_web_alive(moment: datetime) -> bool:
    """Return whether a web process is alive, and has been for long enough that children could reconnect."""
    lease, grace = LIMITS.heartbeat_lease_secs, LIMITS.connection_grace_secs
    if WebProcess.objects.filter(heartbeat_at__gt=later(-lease, moment)).exists():
        outages.note_life(outages.HEARTBEATS)
    return not outages.silent_now(outages.HEARTBEATS) and not outages.just_back(grace, moment)


def _overdue(moment: datetime) -> QuerySet[Attempt]:
    """Return the running attempts without a connection for longer than the grace."""
    grace = LIMITS.connection_grace_secs
    running = Attempt.objects.filter(status=Status.RUNNING, session__attempt=F("number"))
    return running.filter(LessThan(LAST_CONNECTED_AT, later(-grace, moment)))


def end_lost(session_id: UUID, number: int, moment: datetime) -> bool:
    """Retry the attempt or end it in error, unless the child has reconnected: its reconnect takes the same lock."""
    with unit_of_work.transaction():
        transitions.lock(session_id)
        if not _overdue(moment).filter(session=session_id, number=number).exists():
            return False
        secs = LIMITS.connection_grace_secs
        return lifecycle.fail(session_id, number, f"connection lost for {secs} s")


def _told_to_stop(moment: datetime) -> QuerySet[Session]:
    grace = LIMITS.cancel_grace_secs
    running = Session.objects.filter(status__in=[Status.STARTING, Status.RUNNING])
    return running.filter(cancel_requested_at__lt=later(-grace, moment))


def end_cancelled(session_id: UUID, number: int, moment: datetime) -> bool:
    """End a session with an expired cancel grace: its kill is due at once, and it is cancelled."""
    with unit_of_work.transaction():
        session = transitions.lock(session_id)
        if not _told_to_stop(moment).filter(pk=session_id).exists():
            return False
        why = session.cancel_reason
        return lifecycle.finish(session_id, number, Status.CANCELLED, error=why, kill_in=0)
