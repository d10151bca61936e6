"""Migrated databases, made once and copied: SQLite files in a folder, or databases of a PostgreSQL."""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Protocol

from tests.servers.postgres import OWNER, PORT, Cluster, program

ROOT = Path(__file__).resolve().parents[2]
KEPT_SECONDS = 24 * 3600
ADMIN = ("staff", "correct-horse-battery")


class Databases(Protocol):
    """The databases of one kind."""

    folder: Path
    kind: str

    def url(self, name: str) -> str: ...
    def exists(self, name: str) -> bool: ...
    def copy(self, source: str, name: str) -> str: ...
    def create(self, name: str) -> str: ...
    def rename(self, source: str, name: str) -> None: ...
    def drop(self, name: str) -> None: ...
    def save(self, name: str, file: Path) -> None: ...
    def load(self, file: Path, name: str) -> str: ...


class SqliteFiles:
    """Databases as files of one folder."""

    kind = "sqlite"

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

    def save(self, name: str, file: Path) -> None:
        shutil.copyfile(self.path(name), file)

    def load(self, file: Path, name: str) -> str:
        shutil.copyfile(file, self.path(name))
        return self.url(name)


class PostgresDatabases(Cluster):
    """Databases of one PostgreSQL; a copy is made by `CREATE DATABASE ... TEMPLATE`."""

    kind = "postgres"

    def copy(self, source: str, name: str) -> str:
        return self.create(name, template=source)

    def rename(self, source: str, name: str) -> None:
        with self.connect() as connection:
            connection.execute(f'ALTER DATABASE "{source}" RENAME TO "{name}"')

    def save(self, name: str, file: Path) -> None:
        self._client("pg_dump", name, "--no-owner", f"--file={file}")

    def load(self, file: Path, name: str) -> str:
        url = self.create(name)
        self._client("psql", name, "--quiet", "--no-psqlrc", "--set=ON_ERROR_STOP=1", f"--file={file}")
        return url

    def _client(self, client: str, database: str, *options: str) -> None:
        place = [f"--host={self.folder}", f"--port={PORT}", f"--username={OWNER}", f"--dbname={database}"]
        subprocess.run([program(client), *place, *options], check=True, stdout=subprocess.DEVNULL)


def migrated(databases: Databases, environment: dict[str, str]) -> str:
    """The name of a database with every migration in it and nothing else."""
    with _alone(databases.folder):
        if not databases.exists("migrated"):
            _make(databases, "migrated", lambda: _migrate(databases, environment))
    return "migrated"


def furnished(databases: Databases, environment: dict[str, str]) -> tuple[str, str]:
    """The name of a database with a first admin (`ADMIN`) and an API key with every scope; and that key."""
    base = migrated(databases, environment)
    with _alone(databases.folder):
        if not databases.exists("furnished"):
            _make(databases, "furnished", lambda: _furnish(databases, base, environment))
    return "furnished", _key_file(databases).read_text()


def _make(databases: Databases, name: str, build: Callable[[], None]) -> None:
    """Make the database `name`: from a kept copy, else by `build`, which calls it *making*."""
    keep = kept_folder()
    with _alone(keep):
        file = keep / f"{name}.{databases.kind}"
        if file.exists():
            databases.load(file, "making")
        else:
            databases.drop("making")
            build()
            draft = file.with_suffix(".draft")
            databases.save("making", draft)
            draft.rename(file)
    databases.rename("making", name)


def _migrate(databases: Databases, environment: dict[str, str]) -> None:
    manage(environment | {"DATABASE_URL": databases.create("making")}, "migrate", "--noinput")


def _furnish(databases: Databases, base: str, environment: dict[str, str]) -> None:
    script = (Path(__file__).parent / "furnish.py").read_text()
    url = databases.copy(base, "making")
    said = manage(environment | {"DATABASE_URL": url}, "shell", "-v0", "-c", script)
    _key_file(databases).write_text(said.split()[-1])


def _key_file(databases: Databases) -> Path:
    return kept_folder() / f"key.{databases.kind}"


@cache
def kept_folder() -> Path:
    """Return the folder of kept databases: one private folder for each version of their sources."""
    makers = [*ROOT.glob("*/migrations/*.py"), *ROOT.glob("*/models*.py"), *ROOT.glob("*/states.py")]
    makers += [path for app in ("core", "accounts", "ledger") for path in ROOT.glob(f"{app}/**/*.py")]
    makers += [ROOT / "config" / "settings.py"]
    makers += [*Path(__file__).parent.glob("*.py"), ROOT / "requirements.txt"]
    told = b"".join(path.relative_to(ROOT).as_posix().encode() + path.read_bytes() for path in sorted(makers))
    parent = Path(tempfile.gettempdir()) / f"wardroom-tests-{os.getuid()}"
    parent.mkdir(mode=0o700, exist_ok=True)
    if parent.stat().st_uid != os.getuid() or parent.stat().st_mode & 0o077:
        raise RuntimeError(f"{parent} is not private to this user: remove it")
    folder = parent / hashlib.sha256(told).hexdigest()[:24]
    folder.mkdir(mode=0o700, exist_ok=True)
    for other in parent.iterdir():
        if other.stat().st_mtime < time.time() - KEPT_SECONDS:
            shutil.rmtree(other, ignore_errors=True)
    return folder


def manage(environment: dict[str, str], *words: str, timeout: float = 60) -> str:
    """Run a management command in its own process, and return its output."""
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
    """Return the environment of every Wardroom of the tests, without its URLs and without the caller's own settings."""
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
def _alone(folder: Path) -> Iterator[None]:
    """Hold a lock between processes: the first one makes the database that the others copy."""
    with (folder / "making.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
