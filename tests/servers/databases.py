"""Migrated databases, made once and copied: SQLite files in a folder, or databases of a PostgreSQL."""

from __future__ import annotations

import fcntl
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Protocol

from tests.servers.postgres import Cluster

ROOT = Path(__file__).resolve().parents[2]
ADMIN = ("staff", "correct-horse-battery")


class Databases(Protocol):
    """Where databases of one kind live."""

    folder: Path

    def url(self, name: str) -> str: ...
    def exists(self, name: str) -> bool: ...
    def copy(self, source: str, name: str) -> str: ...
    def create(self, name: str) -> str: ...
    def rename(self, source: str, name: str) -> None: ...
    def drop(self, name: str) -> None: ...


class SqliteFiles:
    """Databases as files of one folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def path(self, name: str) -> Path:
        return self.folder / f"{name}.sqlite3"

    def url(self, name: str) -> str:
        return f"sqlite:///{self.path(name)}"

    def exists(self, name: str) -> bool:
        return self.path(name).exists()

    def create(self, name: str) -> str:
        return self.url(name)

    def copy(self, source: str, name: str) -> str:
        shutil.copyfile(self.path(source), self.path(name))
        return self.url(name)

    def rename(self, source: str, name: str) -> None:
        self.path(source).rename(self.path(name))

    def drop(self, name: str) -> None:
        for suffix in ("", "-wal", "-shm"):
            Path(f"{self.path(name)}{suffix}").unlink(missing_ok=True)


class PostgresDatabases(Cluster):
    """Databases of one PostgreSQL; a copy is made by `CREATE DATABASE ... TEMPLATE`."""

    def copy(self, source: str, name: str) -> str:
        return self.create(name, template=source)

    def rename(self, source: str, name: str) -> None:
        with self.connect() as connection:
            connection.execute(f'ALTER DATABASE "{source}" RENAME TO "{name}"')


def migrated(databases: Databases, environment: dict[str, str]) -> str:
    """The name of a database with every migration in it and nothing else."""
    with _alone(databases):
        if not databases.exists("migrated"):
            url = databases.create("migrating")
            manage(environment | {"DATABASE_URL": url}, "migrate", "--noinput")
            databases.rename("migrating", "migrated")
    return "migrated"


def furnished(databases: Databases, environment: dict[str, str]) -> tuple[str, str]:
    """The name of a database with a first admin (`ADMIN`) and an API key with every scope; and that key."""
    base = migrated(databases, environment)
    note = databases.folder / "furnished.json"
    with _alone(databases):
        if not databases.exists("furnished"):
            url = databases.copy(base, "furnishing")
            script = (Path(__file__).parent / "furnish.py").read_text()
            note.write_text(json.dumps(manage(environment | {"DATABASE_URL": url}, "shell", "-v0", "-c", script)))
            databases.rename("furnishing", "furnished")
    return "furnished", json.loads(note.read_text()).split()[-1]


def manage(environment: dict[str, str], *words: str, timeout: float = 60) -> str:
    """Run a management command in its own process, and give what it printed."""
    done = subprocess.run(
        [sys.executable, str(ROOT / "manage.py"), *words],
        env=environment,
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=timeout,
    )
    if done.returncode:
        raise RuntimeError(f"manage.py {' '.join(words)} ended with {done.returncode}:\n{done.stdout}{done.stderr}")
    return done.stdout


def base_environment() -> dict[str, str]:
    """What every Wardroom of the tests is started with, before its URLs; nothing of the caller's own Wardroom."""
    ours = ("WARDROOM_", "DATABASE_URL", "REDIS_URL", "BROKER_URL", "CLOUDAMQP_URL", "DJANGO_", "SECRET_KEY")
    kept = {name: value for name, value in os.environ.items() if not name.startswith((*ours, "PYTEST_"))}
    return {
        **kept,
        "SECRET_KEY": "tests-only-" + "x" * 50,
        "WARDROOM_EMBEDDED": "1",
        "WARDROOM_DEMO": "0",
        "PYTHONUNBUFFERED": "1",
    }


@contextmanager
def _alone(databases: Databases) -> Iterator[None]:
    """One process at a time: the first makes what the others copy."""
    with (databases.folder / "making.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
