"""Places: the attempts of one runner that one host may run at once, and that one project may run on all hosts.

A `process` attempt holds a place from its claim until its supervisor reports the end of the process. So an attempt that
has ended still holds its place while its process may live: the bound is a bound of processes. A place whose end nobody
reports (the host died) is freed by the sweep, some time after its attempt has ended.

Locks: session, ..., mailbox address, the host's row, the project's row, ledger head. The two rows are locked only to
count and take a place. Freeing one needs neither: it can only make room.
"""

from __future__ import annotations

import dataclasses
import os
from datetime import datetime
from uuid import UUID

from django.db.models import Exists, OuterRef, Q, QuerySet

from accounts.models import Project
from core.db.clock import database_now, later
from core.limits import LIMITS
from orchestration.models import Attempt, HostBound, Place, ProjectTurn, Session
from orchestration.runners import process
from orchestration.states import TERMINAL, Runner


@dataclasses.dataclass(frozen=True, slots=True)
class Bound:
    """The most attempts of one runner on one host."""

    runner: str
    host: str
    most: int

    def held(self) -> QuerySet[Place]:
        """Return the places that are held here."""
        return Place.objects.filter(host=self.host, runner=self.runner)


def of_processes() -> Bound:
    """Return the bound of `process` attempts on this host."""
    cores = len(os.sched_getaffinity(0))
    most = min(LIMITS.processes_per_core * cores, LIMITS.processes_per_host)
    return Bound(Runner.PROCESS, process.this_host(), most)


def take(session: Session, number: int, bound: Bound) -> bool:
    """Take a place for this attempt. Return False when there is none. The caller's transaction holds the session's row.

    A place of an earlier attempt is given up for it: the caller has made sure that nothing of that attempt runs.
    """
    # Lock the host's row: of two claims the second counts the first. It keeps the bound, for people to see.
    rows = HostBound.objects.filter(host=bound.host, runner=bound.runner)
    row = rows.select_for_update(no_key=True).first()
    if row is None:
        new = HostBound(host=bound.host, runner=bound.runner, most=bound.most)
        HostBound.objects.bulk_create([new], ignore_conflicts=True)
        row = rows.select_for_update(no_key=True).get()
    if row.most != bound.most:
        rows.update(most=bound.most)
    project = Project.objects.select_for_update(no_key=True).get(pk=session.project_id)
    Place.objects.filter(pk=session.pk).delete()
    has_room = may_hold(bound.held(), bound.most, session)
    if (most := most_of_project(project, bound.runner)) is not None:
        own = Place.objects.filter(project=project, runner=bound.runner)
        has_room = has_room and may_hold(own, most, session)
    if not has_room:
        return False
    Place.objects.create(
        session=session, attempt=number, project_id=session.project_id, runner=bound.runner, host=bound.host
    )
    turn = ProjectTurn.objects.filter(project=project, runner=bound.runner)
    if not turn.update(served_at=database_now()):
        ProjectTurn.objects.create(project=project, runner=bound.runner, served_at=database_now())
    return True


def most_of_project(project: Project, runner: str) -> int | None:
    """Return the project's own bound, or None for a runner that has none."""
    if runner != Runner.PROCESS:
        return None
    return LIMITS.processes_per_project if project.max_processes is None else project.max_processes


def may_hold(held: QuerySet[Place], most: int, session: Session) -> bool:
    """Return whether the session may have one more of these places."""
    return held.count() < most or (session.parent_id is not None and may_exceed(held, most))


def may_exceed(held: QuerySet[Place], most: int) -> bool:
    """Return whether a child may start above the bound, because every holder runs and has an open child.

    Parents may hold every place while they wait for their queued children. Then nothing would end any more. The deepest
    child starts, so each further one is deeper: `places_above_bound` is the depth of a tree.
    """
    if not 0 < held.count() < most + LIMITS.places_above_bound:
        return False
    children = Session.objects.filter(parent=OuterRef("session"), runner=OuterRef("runner"))
    open_children = children.exclude(status__in=sorted(TERMINAL))
    over = Attempt.objects.filter(session=OuterRef("session"), number=OuterRef("attempt"), ended_at__isnull=False)
    return not held.filter(~Exists(open_children) | Exists(over)).exists()


def free(session_id: UUID, number: int) -> bool:
    """Free the place of an attempt whose process is gone. Return False when it holds none."""
    return bool(Place.objects.filter(pk=session_id, attempt=number).delete()[0])


def free_overdue(moment: datetime) -> int:
    """Free the places of ended attempts whose supervisor had the time to end the process, and did not report it.

    It asks every `supervisor_alive_secs`, and kills the process within twice the grace.
    """
    secs = 2 * LIMITS.supervisor_alive_secs + 2 * LIMITS.kill_grace_secs
    attempts = Attempt.objects.filter(session=OuterRef("session"), number=OuterRef("attempt"))
    gone = Q(exited_at__isnull=False) | Q(ended_at__isnull=False, kill_requested_at__lt=later(-secs, moment))
    return Place.objects.filter(Exists(attempts.filter(gone))).delete()[0]
