"""Fixtures shared by the tests of the mailbox."""

from __future__ import annotations

from collections.abc import Iterator
from uuid import UUID

import pytest

from accounts import projects, scopes
from accounts.models import Project
from mailbox import addresses
from mailbox.envelope import NewMessage
from tests.mailbox.faces import Caller, Server, serving


@pytest.fixture
def project(db: None) -> UUID:
    return projects.default().pk


@pytest.fixture
def foreign(db: None) -> UUID:
    """Another team's project."""
    return Project.objects.create(slug="foreign").pk


def task(text: str = "do it", id: str | None = None, **more: object) -> NewMessage:
    """A message as good as any."""
    return NewMessage(message_kind="task", body=text, id=id, **more)


@pytest.fixture(autouse=True)
def no_sessions_told(monkeypatch: pytest.MonkeyPatch) -> None:
    """The mailbox as it is alone: nobody has told it which sessions there are."""
    monkeypatch.setattr(addresses, "_has_session", None)


@pytest.fixture(scope="session")
def web_server() -> Iterator[Server]:
    with serving() as server:
        yield server


@pytest.fixture
def face(web_server: Server, transactional_db: None) -> Server:
    """A web process: deliveries have a commit of their own, so they are part of no test's transaction."""
    return web_server


@pytest.fixture
def caller(face: Server, project: UUID) -> Caller:
    return Caller(face, project, scopes=scopes.ALL)


@pytest.fixture
def stranger(face: Server, foreign: UUID) -> Caller:
    return Caller(face, foreign, scopes=scopes.ALL)
