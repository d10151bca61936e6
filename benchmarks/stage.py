"""The private servers that a benchmark runs on: those of the tests, with durability as in production."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager

from tests.servers.postgres import Postgres
from tests.servers.run import Run
from tests.servers.stack import House


@contextmanager
def servers(backend: str = "postgres", *, durable: bool = True) -> Iterator[Run]:
    """A PostgreSQL (or SQLite files) and a Redis of our own, and this process's Django on a migrated database there.

    Without `durable` PostgreSQL does not wait for its disk: only for figures of reading.
    """
    run = Run(backend)
    if backend == "postgres":
        run.postgres.durable = durable  # The tests' own does not wait for its disk; a figure of writing must.
    try:
        run.up(run.broker)
        databases = run.databases(backend)
        os.environ.update(run.environment() | {"DJANGO_SETTINGS_MODULE": "config.settings"})
        databases.copy(run.migrated(backend), run.name)
        import django

        django.setup()
        yield run
    finally:
        run.close()


@contextmanager
def house(backend: str = "postgres", *, broker: str = "redis", web: int = 1, only_web: bool = False) -> Iterator[House]:
    """A whole Wardroom of real processes, or its web processes alone. PostgreSQL waits for its disk."""
    run = Run(backend)
    if backend == "postgres":
        run.postgres.durable = True
    place = House(run, database=backend, broker=broker, web=web, worker=not only_web, beat=not only_web)
    for name, service in place.services.items():
        if name.startswith("web"):
            service.command.append("--no-access-log")  # As the Procfile has it.
    try:
        yield place.open()
    finally:
        place.close()
        run.close()


def insist_on_durability(server: Postgres) -> None:
    """Refuse to measure a PostgreSQL that does not wait for its disk."""
    with server.connect() as connection:
        for setting in ("fsync", "synchronous_commit", "full_page_writes"):
            row = connection.execute("SELECT current_setting(%s)", [setting]).fetchone()
            if row != ("on",):
                raise SystemExit(f"{setting} is {row}: these figures would mean nothing")
