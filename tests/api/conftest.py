"""Callers of REST at its two faces: the application in this process, and a web process."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from accounts import projects, scopes
from tests.mailbox.faces import Caller, Django, Server, serving


@pytest.fixture
def server(transactional_db: None) -> Iterator[Server]:
    with serving() as face:
        yield face


@pytest.fixture
def caller(db: None) -> Caller:
    """A caller with every right, in this process."""
    return Caller(Django(), projects.default().pk, scopes=scopes.ALL)


@pytest.fixture
def far(server: Server) -> Caller:
    """A caller with every right, at a web process."""
    return Caller(server, projects.default().pk, scopes=scopes.ALL)
