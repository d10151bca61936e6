"""Sessions at each stage of their life, made by the operations themselves."""

from __future__ import annotations

from typing import Any

from accounts.actors import Actor
from accounts.models import Project
from approvals import requests
from approvals.canonical_action import Ask
from approvals.models import Approval
from orchestration.models import Attempt, Session
from orchestration.sessions import lifecycle, spawn, transitions
from orchestration.sessions.spawn import SpawnOrder
from orchestration.states import Status

ACTOR = Actor.system("test")


def project() -> Project:
    return Project.objects.get(slug="default")


def queued(**order: Any) -> Session:
    order = {"assignment": "count to three", "command": ("sleep", "60")} | order
    return spawn.spawn(project(), SpawnOrder(**order), ACTOR).session


def starting(**order: Any) -> Session:
    session = queued(**order)
    return transitions.move(session.pk, session.attempt, Status.STARTING)


def running(**order: Any) -> Session:
    session = starting(**order)
    assert lifecycle.started(session.pk, session.attempt)
    return again(session)


def suspended(**order: Any) -> Session:
    """Waits for one child, which never comes to an end by itself."""
    session = running(**order)
    queued(parent=session.pk)
    assert lifecycle.suspend(session.pk, session.attempt)
    return again(session)


def ended(status: Status = Status.COMPLETED, **order: Any) -> Session:
    session = running(**order)
    assert lifecycle.finish(session.pk, session.attempt, status)
    return again(session)


def asked(session: Session) -> Approval:
    """A question of this attempt, asked over its connection."""
    ask = Ask(
        session=session.pk,
        attempt=session.attempt,
        request_id=f"{session.pk}/{session.attempt}",
        tool_name="shell",
        permission="run",
        resource="ls",
    )
    approval, _ = requests.ask(session.project_id, ask, actor=ACTOR, via="connection")
    return approval


def again(session: Session) -> Session:
    return Session.objects.get(pk=session.pk)


def attempt(session: Session, number: int | None = None) -> Attempt:
    return Attempt.objects.get(session=session, number=number or session.attempt)


def set_attempt(session: Session, **columns: Any) -> None:
    """Put an attempt's moments where a test wants them."""
    Attempt.objects.filter(session=session, number=session.attempt).update(**columns)
