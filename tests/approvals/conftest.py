"""Stages of an approval, and people with the right to answer, to look, or to see nothing."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any
from uuid import UUID, uuid4

import pytest
from django.contrib.auth.models import Group, Permission
from django.test import Client

from accounts import credentials, projects, scopes
from accounts.actors import Actor
from accounts.models import Project, User
from approvals import attempt_clock, decisions, requests
from approvals.canonical_action import Ask
from approvals.decision_validation import Answer
from approvals.models import Approval
from core.db.clock import clock_at
from tests.people import owner

NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)
_numbers = itertools.count(1)


def staff(name: str, project: Project | None = None, *permissions: str) -> User:
    """Return a member of the staff for `project` with these permissions of approvals."""
    user = User.objects.create_user(name, is_staff=True)
    group, _ = Group.objects.get_or_create(name=f"team of {project}")
    user.groups.add(group)
    if project is not None:
        project.groups.add(group)
    wanted = Permission.objects.filter(content_type__app_label="approvals", codename__in=permissions)
    user.user_permissions.add(*wanted)
    return user


def child(session: UUID, attempt: int = 1) -> Actor:
    return Actor(kind="child", id=f"{session}/{attempt}", name=f"child {session}", session=session, attempt=attempt)


@pytest.fixture
def project(db: None) -> Project:
    return projects.default()


@pytest.fixture
def elsewhere(db: None) -> Project:
    return Project.objects.create(slug="elsewhere")


@pytest.fixture
def alice(project: Project) -> User:
    """May ask, look and answer."""
    return staff("alice", project, "ask", "view_approval", "decide")


@pytest.fixture
def bob(project: Project) -> User:
    """May ask, look and answer, too."""
    return staff("bob", project, "ask", "view_approval", "decide")


@pytest.fixture
def viewer(project: Project) -> User:
    """May ask and look, and not answer."""
    return staff("viewer", project, "ask", "view_approval")


@pytest.fixture
def stranger(elsewhere: Project) -> User:
    """May do everything, in another project."""
    return staff("stranger", elsewhere, "ask", "view_approval", "decide")


@pytest.fixture
def session(project: Project) -> UUID:
    """A session with a running first attempt."""
    session = uuid4()
    attempt_clock.open(project.pk, session, 1)
    return session


Asked = Callable[..., Approval]


@pytest.fixture
def asked(project: Project, session: UUID) -> Asked:
    """Ask for a shell command over the connection, as the session's first attempt unless told otherwise."""

    def ask(
        *, via: str = "connection", actor: Actor | None = None, now: datetime | None = None, **said: Any
    ) -> Approval:
        words = {
            "session": session,
            "attempt": 1,
            "request_id": f"request-{next(_numbers)}",
            "tool_name": "shell",
            "permission": "execute",
            "resource": "ls -l",
            "arguments": {"command": "ls -l", "folder": "/tmp"},
        }
        with clock_at(now):
            return requests.ask(project.pk, Ask(**words | said), actor=actor or child(session), via=via)[0]

    return ask


@pytest.fixture
def approved(project: Project, asked: Asked, alice: User) -> Asked:
    """The same, and approved by Alice."""

    def approve(**said: Any) -> Approval:
        approval = asked(**said)
        answer = Answer(decision="approve", digest=approval.digest)
        return decisions.decide(project.pk, approval.id, answer, Actor.of_user(alice), "admin")

    return approve


@pytest.fixture
def bearer() -> Callable[..., dict[str, str]]:
    """Headers of a caller: an API key of `user`, or with `session` a child's token."""

    def headers(project: Project, user: User | None = None, **mint: Any) -> dict[str, str]:
        if "session" in mint:
            mint = {"kind": "child", "subject": str(mint["session"]), "attempt": mint.get("attempt", 1)}
        else:
            mint = {"kind": "api", "user": user or owner(), "scopes": mint.get("scopes", scopes.ALL)}
        _, token = credentials.mint(project=project, **mint)
        return {"Authorization": f"Bearer {token}"}

    return headers


Browser = Callable[[User], Client]


@pytest.fixture
def browser() -> Browser:
    """Signs a person in to the admin."""

    def signed_in(user: User) -> Client:
        client = Client()
        client.force_login(user)
        return client

    return signed_in


@pytest.fixture
def desk(browser: Browser, alice: User) -> Client:
    """Alice, signed in."""
    return browser(alice)
