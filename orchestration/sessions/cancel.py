"""Cancel a session and everything below it.

A small tree is cancelled in one transaction. A large tree would block other transactions for too long, so `cancel` then
tells only the top session to stop and writes a `Cancellation` row. The rest follows in transactions of one session
each: for about a second in the call itself, then in a sweep. A crash in the middle loses nothing.

1. `tell` every session below to stop, parents first. A spawn locks its parent and refuses a parent that was told to
   stop. So each session that is spawned meanwhile is either found here or refused there.
2. `end` the sessions that do not run, deepest first, so that completions still find their parents.

Each visited session names its `Cancellation`. For this reason two concurrent workers do each step once.
"""

import dataclasses
import functools
import itertools
import logging
import time
from collections.abc import Callable
from uuid import UUID

from django.db.models import Exists, F, OuterRef, Q, QuerySet, Window
from django.db.models.functions import RowNumber

from accounts.actors import Actor
from accounts.models import Project
from core.db.clock import database_now
from core.limits import LIMITS
from ledger import sweep_batch, unit_of_work
from ledger.sweep_batch import Work
from orchestration.models import Cancellation, Session
from orchestration.sessions import completion, lifecycle, transitions
from orchestration.states import TERMINAL, Runner, Status

#: The seconds that the cancelling call itself works on the tree. The sweep does the rest.
AT_ONCE_SECS = 1.0
BATCH = 50
#: In seconds: the time for one tree before the next tree gets its turn, and the time for one sweep.
PIECE_SECS, SWEEP_SECS = 1.0, 10.0
#: The largest number of trees in one round of a sweep.
MOST_TREES = 100
MOST_PAUSE_SECS = 0.2
WORK = Work("cancels_sweep", "trees")
log = logging.getLogger(__name__)

DOES_NOT_RUN = Q(status__in=[Status.QUEUED, Status.SUSPENDED]) | Q(status=Status.STARTING, runner=Runner.EXTERNAL)


def cancel(project: Project, session_id: UUID, reason: str, actor: Actor, cascade: bool = True) -> Session:
    """Tell the session, and with `cascade` everything below it, to stop.

    A session that does not run ends at once. A running child is told over its connection and has the grace period. If
    it finishes by itself meanwhile, its own outcome stands. A repeated call, or a call for a session that is over,
    changes nothing. For a large tree the answer shows only the top session as told to stop; the rest follows.

    Raises 404, and 409 for a caller that is a child in an ended attempt.
    """
    with unit_of_work.transaction():
        transitions.fence(actor)
        top = lifecycle.own(project, session_id)
        most = LIMITS.cancel_at_once_sessions
        # Upper estimates: they look at the depth of `top` and below, not at its descendants alone.
        near = Session.objects.filter(root=top.root, depth__gte=top.depth)
        below = near.filter(depth__gt=top.depth).order_by().values_list("pk")
        if cascade and len(below[: most + 1]) > most:
            is_covered = top.cancellation is not None and top.cancellation.finished_at is None
            if is_covered or not near.exclude(status__in=sorted(TERMINAL)).exists():
                return top
            cancellation = _begin(top, reason)
            unit_of_work.audit(
                project.pk, actor, "session.cancel", str(session_id), {"reason": reason, "cascade": True}
            )
            unit_of_work.after_commit(functools.partial(work, cancellation.pk))
        else:
            count = _cancel_at_once(top, reason, cascade)
            if count:
                detail = {"reason": reason, "cascade": cascade, "sessions": count}
                unit_of_work.audit(project.pk, actor, "session.cancel", str(session_id), detail)
        return Session.objects.get(pk=session_id)


def _cancel_at_once(top: Session, reason: str, cascade: bool) -> int:
    """Cancel a small tree in the open transaction, and return the number of sessions that were told.

    1. Lock the tree level by level, parents first. A spawn locks its parent too, so no new child is missed.
    2. Lock every address that receives a completion, in the common lock order.
    3. Tell every session and end those that do not run, deepest first, so that completions still find their parents.
    """
    tree = level = [top]
    while cascade and level:
        below = Session.objects.select_for_update(no_key=True).filter(parent__in=[up.pk for up in level])
        level = list(below.order_by("pk"))
        tree = tree + level
    open_sessions = [session for session in tree if not session.is_terminal]
    completion.lock_addresses([session for session in open_sessions if lifecycle.does_not_run(session)])
    for session in reversed(open_sessions):
        lifecycle.stop(session, reason)
    return len(open_sessions)


# --- a large tree -------------------------------------------------------------------------------------------


def _begin(top: Session, reason: str) -> Cancellation:
    """Tell `top` to stop and store a cancellation for everything below it.

    The caller's transaction holds the row of `top`.
    """
    row = Cancellation.objects.create(project_id=top.project_id, top=top, reason=reason, requested_at=database_now())
    _tell(row.pk, top, reason)
    return row


def sweep() -> int:
    """Continue unfinished cancellations in rounds of short pieces, and return how many made progress.

    A tree of any size delays another tree by one round at most. A cancellation that fails waits for the next sweep.
    """
    until, is_first = time.monotonic() + SWEEP_SECS, True
    went_on, failed = set[UUID](), set[UUID]()
    while found := [pk for pk in in_turn() if pk not in failed]:
        piece = min(PIECE_SECS, SWEEP_SECS / len(found))

        def act(pk: UUID, secs: float = piece) -> int:
            failed.add(pk)
            moved = work(pk, secs) > 0
            failed.remove(pk)
            went_on.update([pk] if moved else [])
            return moved

        # The first round finds all of them, so it may delete the failure records of finished cancellations.
        find = functools.partial(itertools.islice, found)
        moved = sweep_batch.each(WORK, find, act, limit=MOST_TREES, finds_all=is_first)
        is_first = False
        if not moved or time.monotonic() > until:
            break
    return len(went_on)


def in_turn() -> list[UUID]:
    """Return the unfinished cancellations: the oldest one of every project, then the second one of every project."""
    of_project = Window(RowNumber(), partition_by="project", order_by=["requested_at", "pk"])
    waiting = Cancellation.objects.filter(finished_at=None).annotate(place=of_project)
    return list(waiting.order_by("place", "requested_at", "pk").values_list("pk", flat=True))


def work(cancellation: UUID, secs: float = AT_ONCE_SECS) -> int:
    """Work on one cancellation for about `secs` seconds, and return the number of sessions that were told or ended.

    Pause after each transaction for as long as it took, because SQLite's write lock is not fair. A session that fails
    does not stop the others: the first error is raised at the end, and the next sweep tries again.
    """
    row = Cancellation.objects.filter(pk=cancellation, finished_at=None).first()
    if row is None:
        return 0
    # The sessions below a visited one that must be told, or walked through because they have children. If a parent was
    # started again meanwhile, its new children are not part of this cancel.
    below = Session.objects.filter(parent__cancellation=row.pk).filter(
        Q(cancellation=None) | ~Q(cancellation=row.pk),
        Q(created_at__lte=row.requested_at) | Q(parent__attempt=F("parent__cancellation_attempt")),
    )
    alive = Q(Exists(Session.objects.filter(parent=OuterRef("pk")))) | ~Q(status__in=sorted(TERMINAL))
    unvisited = below.filter(alive).order_by("depth").values_list("pk", flat=True)
    turn = _Turn(until=time.monotonic() + secs)
    turn.each(lambda: list(unvisited.exclude(pk__in=turn.failed)[:BATCH]), lambda pk: tell(row.pk, pk))
    idle = _told_but_idle(row.pk).order_by("-depth").values_list("pk", flat=True)
    turn.each(lambda: list(idle.exclude(pk__in=turn.failed)[:BATCH]), lambda pk: end(row.pk, pk))
    if turn.trouble:
        raise turn.trouble
    if turn.is_over:
        return turn.changed
    with unit_of_work.transaction():
        unfinished = Cancellation.objects.filter(pk=row.pk, finished_at=None)
        if unfinished.update(finished_at=database_now()):
            done = Cancellation.objects.get(pk=row.pk)
            counts = {"told": done.told, "ended": done.ended}
            unit_of_work.event(done.project_id, "session_cancel_finished", counts, session=done.top_id)
    return turn.changed


@dataclasses.dataclass(slots=True)
class _Turn:
    """One period of work on one cancellation, with its failures."""

    until: float
    changed: int = 0
    acts: int = 0
    is_over: bool = False
    failed: set[UUID] = dataclasses.field(default_factory=set)
    trouble: Exception | None = None

    def each(self, find: Callable[[], list[UUID]], act: Callable[[UUID], bool]) -> None:
        """Act on all sessions from `find`, until it returns none or the time is over."""
        while not self.is_over and (found := find()):
            for pk in found:
                began = time.monotonic()
                # Each turn does at least one step, even in the shortest time.
                self.is_over = began > self.until and self.acts > 0
                if self.is_over:
                    return
                self.acts += 1
                try:
                    self.changed += act(pk)
                except Exception as trouble:
                    log.exception("session %s cannot be cancelled", pk)
                    self.failed.add(pk)
                    self.trouble = self.trouble or trouble
                time.sleep(min(time.monotonic() - began, MOST_PAUSE_SECS))


def _told_but_idle(cancellation: UUID) -> QuerySet[Session]:
    return Session.objects.filter(DOES_NOT_RUN, cancellation=cancellation, cancel_requested_at__isnull=False)


def tell(cancellation: UUID, session_id: UUID) -> bool:
    """Tell one session to stop and mark it as visited. Return False when it was visited before."""
    with unit_of_work.transaction():
        session = transitions.lock(session_id)
        if session.cancellation_id == cancellation:
            return False
        reason = Cancellation.objects.values_list("reason", flat=True).get(pk=cancellation)
        _tell(cancellation, session, reason)
        return True


def _tell(cancellation: UUID, session: Session, reason: str) -> None:
    Session.objects.filter(pk=session.pk).update(cancellation=cancellation, cancellation_attempt=session.attempt)
    if not session.is_terminal:
        lifecycle.request_stop(session, reason)
        Cancellation.objects.filter(pk=cancellation).update(told=F("told") + 1)


def end(cancellation: UUID, session_id: UUID) -> bool:
    """End one session that was told to stop and does not run. Return False when it ended or started again meanwhile."""
    with unit_of_work.transaction():
        transitions.lock(session_id)
        session = _told_but_idle(cancellation).filter(pk=session_id).first()
        if session is None:
            return False
        lifecycle.stop(session, session.cancel_reason)
        Cancellation.objects.filter(pk=cancellation).update(ended=F("ended") + 1)
        return True
