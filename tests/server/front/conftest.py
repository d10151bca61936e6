"""A web server in a thread of the tests' process, and callers with and without a token."""

from __future__ import annotations

from collections.abc import Iterator
from uuid import UUID

import pytest

from accounts import projects, scopes
from tests.mailbox.faces import Caller, Server, serving
from tests.server.front.wire import Wire, wire


@pytest.fixture(scope="session")
def web_server() -> Iterator[Server]:
    with serving() as server:
        yield server


@pytest.fixture
def project(db: None) -> UUID:
    return projects.default().pk


@pytest.fixture
def caller(web_server: Server, project: UUID) -> Caller:
    """A key with every scope."""
    return Caller(web_server, project, scopes=scopes.ALL)


@pytest.fixture
def connection(web_server: Server) -> Iterator[Wire]:
    with wire(web_server.port) as opened:
        yield opened


@pytest.fixture
def stranger() -> str:
    """A token that is well formed, and nobody's."""
    return f"wr_key_{'a' * 16}_{'b' * 43}"
