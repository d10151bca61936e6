"""Launch queued process attempts, and handle attempts that send no first frame."""

import logging
from datetime import datetime, timedelta
from uuid import UUID

from django.db import InterfaceError, OperationalError, connection
from django.db.models import Q

from core.db.clock import database_now, later, read_database_clock
from core.display.redaction import redacted
from core.limits import LIMITS
from ledger import outages, sweep_batch, unit_of_work
from ledger.models import Why
from ledger.sweep_batch import Work, storable
from mailbox import session_inbox
from orchestration.models import Attempt, Session
from orchestration.places import held, turns
from orchestration.runners import process
from orchestration.sessions import dispatch, lifecycle, roles, spawn, transitions
from orchestration.states import Runner, Status

log = logging.getLogger(__name__)

#: After this many seconds a task message counts as lost.
LOST_SECS = 5
#: The most attempts that one task tries to launch until one starts.
MOST_TRIED = 20
LOST, SILENT = Work("launch_sweep", "launches"), Work("launch_sweep", "first words")


def launch(session_id: UUID, attempt: int) -> bool:
    """Claim a queued process attempt, start its supervisor, and return. Return False when there is nothing to do.

    The task message may come twice, or after the sweeper. The claim lets one call through.

    1. While another host may still run an earlier attempt, do nothing. The sweeper tries again.
    2. End the remains of an earlier attempt on this host. This is slow, so it comes before the claim: a worker that
       crashes in between has claimed nothing.
    3. Claim in one transaction: take a place, queued -> starting, and mint the token. Then start the supervisor.
    """
    waiting = Session.objects.filter(pk=session_id, attempt=attempt, status=Status.QUEUED, runner=Runner.PROCESS)
    earlier = Attempt.objects.filter(session=session_id, number__lt=attempt)
    if not waiting.exists() or turns.elsewhere(earlier, process.this_host()).exists():
        return False
    process.end_earlier(session_id, attempt, LIMITS.kill_grace_secs + 1)
    bound = held.of_processes()
    claimed = claim(session_id, attempt, bound.host, bound)
    if claimed is None:
        return False
    session, token = claimed
    try:
        role = roles.of(session)
        options = {"env": role.get("env", {}), "cwd": role.get("cwd")}
        spec = process.launch_spec(session_id, attempt, token, session.command or [], options)
        pid = process.start_supervisor(spec)
    except Exception as problem:
        # Otherwise the attempt ends only when its first frame is overdue, and without this reason.
        log.exception("the launch of %s/%s failed", session_id, attempt)
        known = isinstance(problem, process.NotStarted | OSError)
        why = str(problem) if known else f"the launch failed: {type(problem).__name__}: {problem}"
        with unit_of_work.transaction():
            lifecycle.finish(session_id, attempt, Status.ERROR, error=storable(redacted(why)), kill_in=0)
            held.free(session_id, attempt)
        return False
    Attempt.objects.filter(session=session_id, number=attempt, supervisor_pid=None).update(supervisor_pid=pid)
    return True


def launch_next() -> bool:
    """Launch the next attempt in turn, if it has a place. One that fails does not stop the ones behind it."""
    bound, tried = held.of_processes(), set[UUID]()
    while len(tried) < MOST_TRIED and (found := turns.in_turn(bound, 1, skip=tried)):
        session_id, attempt = found[0]
        tried.add(session_id)
        try:
            if launch(session_id, attempt):
                return True
        except Exception as error:
            if isinstance(error, InterfaceError | OperationalError) and not connection.is_usable():
                raise
            log.exception("the launch of %s/%s failed; the sweeper tries it again", session_id, attempt)
    return False


def claim(session_id: UUID, attempt: int, host: str, bound: held.Bound | None = None) -> tuple[Session, str] | None:
    """Claim a queued attempt: take a place, queued -> starting, mint its token. Return None if it is not to start now.

    One of many callers gets it. An attempt without any work is skipped. Without a bound it takes no place: the caller
    counts its own attempts.
    """
    with unit_of_work.transaction():
        session = transitions.lock(session_id)
        dispatch.mark_begun(session_id, attempt)
        if session.cancel_requested_at is not None:
            return None  # The cancel ends it.
        if session.status != Status.QUEUED or session.attempt != attempt:
            return None
        if not session.assignment.strip() and not session_inbox.unadmitted(
            session.project_id, session.address, limit=1
        ):
            lifecycle.finish(session_id, attempt, Status.SKIPPED, error="nothing to do", kill_in=0)
            return None
        if bound is not None and not held.take(session, attempt, bound):
            return None
        session = transitions.move(session_id, attempt, Status.STARTING)
        row = Attempt.objects.filter(session=session, number=attempt)
        row.update(launched_at=database_now(), host=host)
        return session, spawn.mint(session)


# --- the launch sweeper -------------------------------------------------------------------------------------


def sweep(limit: int = 50, *, moment: datetime | None = None) -> int:
    """Launch attempts with a lost task message, and handle children that never send a first frame."""
    at = moment or read_database_clock()
    held.free_overdue(at)
    bound, since = held.of_processes(), at - timedelta(seconds=LOST_SECS)

    def lost(most: int) -> list[turns.Waiting]:
        return turns.in_turn(bound, most, spare=most - limit, before=since)

    # What it finds depends on the free places, so a row that it does not find is not gone.
    launched = sweep_batch.each(LOST, lost, lambda row: launch(*row), limit=limit, finds_all=False)
    # The records of failed launches whose attempt is no longer queued.
    for name in LOST.skipped(Why.FAILED).values_list("row", flat=True):
        session_id, number = name.split()
        if not Session.objects.filter(pk=session_id, attempt=number, status=Status.QUEUED).exists():
            LOST.skipped(Why.FAILED).filter(row=name).delete()
    return launched + sweep_batch.each(SILENT, lambda most: _silent(at), lambda row: give_up_waiting(*row))


def _silent(moment: datetime) -> list[tuple[UUID, int]]:
    """Return the attempts with an overdue first frame, without the seconds of outages of Wardroom itself.

    Return none of a runner shortly after an outage, because the outage may be the reason.
    """
    found: list[tuple[UUID, int]] = []
    away = outages.spans()
    is_external = Q(session__runner=Runner.EXTERNAL)
    for kind, secs in ((~is_external, LIMITS.first_frame_secs), (is_external, LIMITS.external_first_frame_secs)):
        if outages.just_back(min(secs, LIMITS.first_frame_secs), moment):
            continue
        starting = Attempt.objects.filter(kind, status=Status.STARTING)
        late = starting.filter(launched_at__lt=later(-secs, moment)).order_by("launched_at")
        for session_id, number, launched in late.values_list("session_id", "number", "launched_at"):
            run = (launched or moment, moment)
            if (run[1] - run[0]).total_seconds() - outages.overlap_secs(away, *run) > secs:
                found.append((session_id, number))
    return found


def give_up_waiting(session_id: UUID, number: int) -> bool:
    """Handle a missing first frame.

    Launch it once more, unless its caller starts it: a process after its old group is ended. Otherwise end the session.
    """
    with unit_of_work.transaction():
        session = transitions.lock(session_id)
        if session.status != Status.STARTING or session.attempt != number:
            return False
        is_external = session.runner == Runner.EXTERNAL
        secs = int(LIMITS.external_first_frame_secs if is_external else LIMITS.first_frame_secs)
        why = f"no first frame from the child in {secs} s"
        again = not is_external and not session.attempts.get(number=number).relaunched
        if again and session.cancel_requested_at is None:
            transitions.requeue(session_id, number, why, relaunched=True)
            return True
        return lifecycle.give_up(session_id, number, why)
