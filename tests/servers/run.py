"""One run of the tests: its backend, and the private servers that this process has started.

    sqlite    SQLite (a file) and the wheel's Valkey: as for `make run`
    postgres  PostgreSQL and Debian's Redis: as in a deployment

With pytest-xdist each worker has a database and a broker of its own; PostgreSQL and the migrated template are shared.
"""

from __future__ import annotations

import argparse
import os
import secrets
import shutil
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import TypeVar

from tests.servers.databases import Databases, PostgresDatabases, SqliteFiles, base_environment, furnished, migrated
from tests.servers.postgres import Postgres
from tests.servers.process import Server, short_folder
from tests.servers.rabbitmq import RabbitMQ
from tests.servers.redis import Redis, Valkey

BACKENDS = ("sqlite", "postgres")
SHARED = "WARDROOM_TEST_RUN"  # Where a worker finds what its controller made.

S = TypeVar("S", bound=Server)


def chosen_backend(argv: Sequence[str]) -> str:
    """`--backend`, else WARDROOM_TEST_BACKEND, else sqlite. Settings load before pytest has read its options."""
    parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    parser.add_argument("--backend")
    named = parser.parse_known_args(list(argv))[0].backend
    chosen = named or os.environ.get("WARDROOM_TEST_BACKEND") or "sqlite"
    if chosen not in BACKENDS:
        raise SystemExit(f"The backend is {chosen!r}; use one of {', '.join(BACKENDS)}.")
    return chosen


class Run:
    """This process's part of the run: its servers, each started when it is first asked for."""

    def __init__(self, backend: str, worker: str = "", shared: str | None = None) -> None:
        self.backend = backend
        self.shared = shared
        self.folder = Path(shared) if shared else short_folder()
        self.name = f"test_{worker or 'main'}_{secrets.token_hex(3)}"
        self._started: list[Server] = []

    def up(self, server: S) -> S:
        if not server.running:
            server.start()
        if server not in self._started:
            self._started.append(server)
        return server

    def close(self) -> None:
        for server in reversed(self._started):
            server.close()
        if not self.shared:
            shutil.rmtree(self.folder, ignore_errors=True)

    @cached_property
    def broker(self) -> Redis:
        """This process's own; not started yet."""
        return Redis() if self.backend == "postgres" else Valkey()

    @cached_property
    def postgres(self) -> Postgres:
        """The run's only one when that is the backend, else this process's own. Not started yet."""
        server = Postgres()
        if self.backend == "postgres":
            # A worker that wrote its own here would send the others to a server that is not up yet.
            assert not self.shared, "a worker uses its controller's PostgreSQL"
            (self.folder / "postgres").write_text(str(server.folder))
        return server

    @cached_property
    def rabbitmq(self) -> RabbitMQ:
        return RabbitMQ()

    def databases(self, kind: str) -> Databases:
        """Return the maker of databases of this kind. Start PostgreSQL if it is needed."""
        if kind == "sqlite":
            return SqliteFiles(self.folder)
        return PostgresDatabases(self._cluster(start=True))

    def _cluster(self, *, start: bool) -> Path:
        if self.shared and self.backend == "postgres":
            return Path((self.folder / "postgres").read_text())
        return (self.up(self.postgres) if start else self.postgres).folder

    def environment(self) -> dict[str, str]:
        """For this process's own Django, and whatever it starts. Nothing is running yet."""
        url = SqliteFiles(self.folder).url(self.name)
        if self.backend == "postgres":
            url = PostgresDatabases(self._cluster(start=False)).url(self.name)
        return {
            **base_environment(),
            SHARED: str(self.folder),
            "WARDROOM_URL": "http://testserver",
            "WARDROOM_DATA": str(self.folder / f"data-{self.name}"),
            "DATABASE_URL": url,
            "REDIS_URL": self.broker.url(),
            "BROKER_URL": self.broker.queue_url(),
        }

    def migrated(self, kind: str) -> str:
        """The name of a migrated database to copy."""
        return migrated(self.databases(kind), self.environment())

    def furnished(self, kind: str) -> tuple[str, str]:
        """The name of a database to copy that has an admin and an API key; and that key."""
        return furnished(self.databases(kind), self.environment())
