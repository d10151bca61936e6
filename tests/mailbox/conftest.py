"""What the tests of the mailbox share."""

from __future__ import annotations

from uuid import UUID

import pytest

from accounts import projects
from accounts.models import Project
from mailbox import addresses
from mailbox.letters import NewMessage


@pytest.fixture
def project(db: None) -> UUID:
    return projects.default().pk


@pytest.fixture
def foreign(db: None) -> UUID:
    """Another team's project."""
    return Project.objects.create(slug="foreign").pk


def task(text: str = "do it", id: str | None = None, **more: object) -> NewMessage:
    """A message as good as any."""
    return NewMessage(message_kind="task", body=text, id=id, **more)  # type: ignore[arg-type]


@pytest.fixture(autouse=True)
def no_sessions_told(monkeypatch: pytest.MonkeyPatch) -> None:
    """The mailbox as it is alone: nobody has told it which sessions there are."""
    monkeypatch.setattr(addresses, "_has_session", None)
