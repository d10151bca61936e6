"""Acts that several tests of places share."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from accounts.models import Project
from core.db.clock import read_database_clock
from orchestration.models import Session
from orchestration.places import held
from orchestration.sessions import launch, lifecycle, spawn, supervisor_reports
from orchestration.sessions.spawn import SpawnOrder
from orchestration.sessions.supervisor_reports import Exit
from tests.orchestration import stages

WELL = Exit(exit_status=0, exit_signal=None, stderr_tail="")


def later(secs: float) -> Any:
    return read_database_clock() + timedelta(seconds=secs)


def queued_in(slug: str, **order: Any) -> Session:
    project, _ = Project.objects.get_or_create(slug=slug)
    order = {"assignment": "count", "command": ("sleep", "60")} | order
    return spawn.spawn(project, SpawnOrder(**order), stages.ACTOR).session


def exit_of(session: Session, number: int = 1) -> None:
    """Report the end of its process, as its supervisor does."""
    token = spawn.mint(session)
    supervisor_reports.exited(token, session.pk, number, WELL)


def complete(session: Session) -> None:
    """Run to the end: first frame, terminal frame, end of the process."""
    session = stages.again(session)
    token = spawn.mint(session)
    lifecycle.started(session.pk, session.attempt)
    lifecycle.finish(session.pk, session.attempt, "completed")
    supervisor_reports.exited(token, session.pk, session.attempt, WELL)


def start_all() -> int:
    """Launch one after the other while there is a place. Return the number."""
    return next(number for number in range(1000) if not launch.launch_next())


def statuses(*sessions: Session) -> list[str]:
    return [stages.again(session).status for session in sessions]


def claims(session: Session, bound: held.Bound) -> bool:
    return launch.claim(session.pk, 1, bound.host, bound) is not None
