"""The queue of attempts that wait for a place: in order within a project, and across projects in turns.

The next turn is that of the project that was served longest ago. So a project with many queued sessions delays another
one by one place at most.
"""

from __future__ import annotations

from collections.abc import Collection
from datetime import datetime
from itertools import chain, islice, zip_longest
from typing import Any
from uuid import UUID

from django.db.models import Case, Count, Exists, F, IntegerField, OuterRef, Q, QuerySet, Subquery, Value, When
from django.db.models.functions import Coalesce

from accounts.models import Project
from core.db.clock import later
from core.limits import LIMITS
from core.web import problems
from orchestration.models import Attempt, Place, ProjectTurn, Session
from orchestration.places import held
from orchestration.places.held import Bound
from orchestration.states import TERMINAL, Runner, Status

RETRY_SECS = 15
#: Below the bound by more than this, a spawn does not wait for others that count the same queue.
UNLOCKED = 64
Waiting = tuple[UUID, int]


def queued(runner: str) -> QuerySet[Session]:
    """Return the queued sessions of a runner, in order. `queued_at` is set only in this state, and has the index."""
    rows = Session.objects.filter(queued_at__isnull=False, status=Status.QUEUED, runner=runner)
    return rows.order_by("queued_at", "pk")


def in_turn(
    bound: Bound, most: int, *, spare: int = 0, before: datetime | None = None, skip: Collection[UUID] = ()
) -> list[Waiting]:
    """Return the sessions and attempts that may take a place here now, in order, at most `most`.

    There are `spare` more than free places, for callers that expect some of them to fail. First come those whose
    earlier attempt still holds a place here: they take no other one's. If there is nothing else to start, the deepest
    session follows whose ancestors wait for it with every place.
    """
    waiting = _launchable(bound, before).exclude(pk__in=skip)
    again = waiting.filter(held_place__host=bound.host, held_place__runner=bound.runner)
    found = _named(again[:most])
    room = bound.most - bound.held().count()
    if room > 0 and (wanted := min(most - len(found), room + spare)) > 0:
        found += _across_projects(bound, waiting.filter(held_place=None), wanted, spare)
    return found or _below_waiting_parents(bound, waiting, is_full=room <= 0)


def _launchable(bound: Bound, before: datetime | None) -> QuerySet[Session]:
    """Leave out sessions that are being cancelled, and those whose last attempt may still run on another host."""
    rows = queued(bound.runner).filter(cancel_requested_at=None)
    if before is not None:
        rows = rows.filter(queued_at__lt=before)
    earlier = Attempt.objects.filter(session=OuterRef("pk"), number__lt=OuterRef("attempt"))
    return rows.filter(Q(attempt=1) | ~Exists(elsewhere(earlier, bound.host)))


def elsewhere(attempts: QuerySet[Attempt], host: str) -> QuerySet[Attempt]:
    """Return those of the attempts that a supervisor on another host may still run, because it has not noticed the end.

    It asks every `supervisor_alive_secs`, so this ends by itself. A host that is lost for good delays the next attempt
    by the same time at most.
    """
    notices = 2 * LIMITS.supervisor_alive_secs + 2 * LIMITS.kill_grace_secs
    return attempts.filter(exited_at=None, ended_at__gt=later(-notices)).exclude(host="").exclude(host=host)


def _across_projects(bound: Bound, waiting: QuerySet[Session], wanted: int, spare: int) -> list[Waiting]:
    """Return one session of each project, then the second of each, and so on."""
    heads = waiting.filter(project=OuterRef("pk")).values("queued_at")[:1]
    turns = ProjectTurn.objects.filter(project=OuterRef("pk"), runner=bound.runner)
    projects: QuerySet[Any] = Project.objects.annotate(in_use=_in_use(bound))
    # Only to order by: a time that Python cannot read must not stop the queue.
    projects = projects.alias(head=Subquery(heads), served=Subquery(turns.values("served_at")[:1]))
    projects = projects.filter(head__isnull=False)
    if bound.runner == Runner.PROCESS:
        projects = projects.filter(in_use__lt=_most())
    columns: list[list[Waiting]] = []
    for project in projects.order_by(F("served").asc(nulls_first=True), "head", "pk")[:wanted]:
        most = held.most_of_project(project, bound.runner)
        rows = wanted if most is None else min(wanted, most - project.in_use + spare)
        columns.append(_named(waiting.filter(project=project)[:rows]))
    return list(islice((row for row in chain(*zip_longest(*columns)) if row), wanted))


def _in_use(bound: Bound) -> Any:
    places = Place.objects.filter(project=OuterRef("pk"), runner=bound.runner).order_by().values("project")
    return Coalesce(Subquery(places.annotate(number=Count("pk")).values("number")), 0)


def _most() -> Any:
    return Coalesce(F("max_processes"), Value(LIMITS.processes_per_project), output_field=IntegerField())


def _below_waiting_parents(bound: Bound, waiting: QuerySet[Session], *, is_full: bool) -> list[Waiting]:
    """Return the deepest queued session whose ancestors hold every place of this host, or of its project, and wait."""
    below = waiting.filter(parent__isnull=False).exclude(parent__status__in=sorted(TERMINAL))
    below = below.order_by("-depth", "queued_at", "pk")
    if is_full:
        return _named(below[:1]) if held.may_exceed(bound.held(), bound.most) else []
    if bound.runner != Runner.PROCESS:
        return []
    projects: QuerySet[Any] = Project.objects.annotate(in_use=_in_use(bound)).filter(in_use__gt=0, in_use__gte=_most())
    for project in projects:
        own = Place.objects.filter(project=project, runner=bound.runner)
        most = held.most_of_project(project, bound.runner) or 0
        if held.may_exceed(own, most) and (found := _named(below.filter(project=project)[:1])):
            return found
    return []


def _named(rows: QuerySet[Session]) -> list[Waiting]:
    return list(rows.values_list("pk", "attempt"))


def refuse_if_full(project_id: UUID, runner: str) -> None:
    """Refuse one more queued session of a caller who can be told. Raises 429. Requires a transaction.

    An end, a resume or a retry by policy is never refused: it does not ask. The project's row is the lock for the
    count, as in `held.take`. It is taken only near the bound.
    """
    if runner == Runner.EXTERNAL:
        return
    most = LIMITS.queued_per_project
    rows = queued(runner).filter(project=project_id)
    if rows[:most].count() < most - UNLOCKED:
        return
    Project.objects.select_for_update(no_key=True).get(pk=project_id)
    if rows[:most].count() >= most:
        detail = f"{most} sessions of this project already wait for a place. Try again after some have started."
        raise problems.too_many(detail, RETRY_SECS)


def with_position(rows: QuerySet[Session]) -> QuerySet[Session]:
    """Annotate queued sessions with `nth` and `of`: the position in the queue of the project, and its length."""
    mates = Session.objects.filter(
        queued_at__isnull=False, status=Status.QUEUED, runner=OuterRef("runner"), project=OuterRef("project")
    )
    earlier = Q(queued_at__lt=OuterRef("queued_at")) | Q(queued_at=OuterRef("queued_at"), pk__lte=OuterRef("pk"))
    is_queued = Q(queued_at__isnull=False, status=Status.QUEUED)

    def counted(which: QuerySet[Session]) -> Any:
        number = which.order_by().values("project").annotate(number=Count("pk")).values("number")
        return Case(When(is_queued, then=Subquery(number)), output_field=IntegerField())

    return rows.annotate(nth=counted(mates.filter(earlier)), of=counted(mates))


def position_text(session: Any) -> str:
    """Return the position of a session from `with_position`, for people. Return an empty text if it is not queued."""
    nth, of = getattr(session, "nth", None), getattr(session, "of", None)
    if not nth or not of:
        return ""
    ending = "th" if nth % 100 in (11, 12, 13) else {1: "st", 2: "nd", 3: "rd"}.get(nth % 10, "th")
    return f"waits for a place ({nth}{ending} of {of} in its project)"
