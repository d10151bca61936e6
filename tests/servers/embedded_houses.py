"""Whole Wardrooms by `manage.py up`, on either backend."""

import secrets
from collections.abc import Iterator
from typing import Any

import pytest

from tests.servers import Redis
from tests.servers.embedded import Embedded


@pytest.fixture(scope="module")
def houses(backend: str, request: pytest.FixtureRequest) -> Iterator[Any]:
    """A factory: `up` with everything of its own, or on a PostgreSQL and a Redis that the environment names."""
    made = []

    def make(**options: Any) -> Any:
        if backend == "postgres":
            broker = Redis().start()
            database = request.getfixturevalue("postgres").create(f"up_{secrets.token_hex(4)}")
            options = {"DATABASE_URL": database, "REDIS_URL": broker.url(), "broker": broker} | options
        made.append(Embedded(**options))
        return made[-1]

    yield make
    for house in made:
        house.close()
        if house.broker is not None:
            house.broker.close()
            request.getfixturevalue("postgres").drop(
                house.environment["DATABASE_URL"].rpartition("/")[2].partition("?")[0]
            )


@pytest.fixture(scope="session")
def only_embedded(backend: str) -> None:
    """`up` with everything of its own is the same whatever the backend: once is enough."""
    if backend != "sqlite":
        pytest.skip("the embedded profile runs on SQLite and Valkey only")
