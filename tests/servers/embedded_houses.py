"""Whole Wardrooms by `manage.py up`, on either backend."""

import secrets
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import RUN
from tests.servers import Redis
from tests.servers.databases import SqliteFiles
from tests.servers.embedded import Embedded


def migrated_file() -> Path:
    """Return a database file for the first start of an `Embedded`."""
    return SqliteFiles(RUN.folder).path(RUN.migrated("sqlite"))


@pytest.fixture(scope="module")
def houses(backend: str) -> Iterator[Any]:
    """A factory: `up` with everything of its own, or on a PostgreSQL and a Redis that the environment names."""
    made = []
    databases = RUN.databases(backend)

    def make(**options: Any) -> Any:
        if backend == "sqlite":
            options = {"migrated": migrated_file()} | options
        else:
            broker = Redis().start()
            database = databases.copy(RUN.migrated(backend), f"up_{secrets.token_hex(4)}")
            options = {"DATABASE_URL": database, "REDIS_URL": broker.url(), "broker": broker} | options
        made.append(Embedded(**options))
        return made[-1]

    yield make
    for house in made:
        house.close()
        if house.broker is not None:
            house.broker.close()
            databases.drop(house.environment["DATABASE_URL"].rpartition("/")[2].partition("?")[0])


@pytest.fixture(scope="session")
def only_embedded(backend: str) -> None:
    """`up` with everything of its own is the same whatever the backend: once is enough."""
    if backend != "sqlite":
        pytest.skip("the embedded profile runs on SQLite and Valkey only")
