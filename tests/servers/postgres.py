"""A private PostgreSQL on a unix socket in a 0700 folder; nothing listens on TCP."""

import os
import pwd
import shutil
import signal
import subprocess
from pathlib import Path
from typing import Any
from urllib.parse import quote

import psycopg
from psycopg import sql

from tests.servers.process import Server, ServerMissing, dies_with_parent

OWNER = "postgres"
PORT = 5432  # Only part of the socket's file name.
FAST = ["fsync=off", "synchronous_commit=off", "full_page_writes=off"]


def program(name: str) -> str:
    """The newest installed version's program; Debian keeps them off the PATH."""
    versions = sorted(Path("/usr/lib/postgresql").glob(f"*/bin/{name}"), key=lambda p: int(p.parts[-3]))
    found = str(versions[-1]) if versions else shutil.which(name)
    if not found:
        raise ServerMissing(f"PostgreSQL's {name} is not installed: run scripts/install_test_servers.sh as root")
    return found


class Cluster:
    """The databases of a running PostgreSQL, found by its folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def connect(self, database: str = OWNER, *, timeout: int = 10) -> "psycopg.Connection[tuple[Any, ...]]":
        place = {"host": str(self.folder), "port": PORT, "user": OWNER, "dbname": database}
        return psycopg.connect(**place, autocommit=True, connect_timeout=timeout)

    def url(self, database: str) -> str:
        return f"postgres://{OWNER}@{quote(str(self.folder), safe='')}:{PORT}/{database}"

    def create(self, database: str, *, template: str = "template1") -> str:
        """A new database, copied from `template` (to which nobody may be connected). Returns its URL."""
        with self.connect() as connection:
            names = sql.Identifier(database), sql.Identifier(template)
            connection.execute(sql.SQL("CREATE DATABASE {} TEMPLATE {}").format(*names))
        return self.url(database)

    def drop(self, database: str) -> None:
        with self.connect() as connection:
            name = sql.Identifier(database)
            connection.execute(sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(name))

    def exists(self, database: str) -> bool:
        with self.connect() as connection:
            found = connection.execute("SELECT 1 FROM pg_database WHERE datname = %s", [database])
            return found.fetchone() is not None


class Postgres(Server, Cluster):
    """`durable=True` keeps fsync on, for tests that pull the plug."""

    name = "PostgreSQL"
    stop_signal = signal.SIGINT
    immediate_signal = signal.SIGQUIT

    def __init__(self, *, durable: bool = False) -> None:
        Server.__init__(self)
        self.durable = durable
        self.data = self.folder / "data"

    def prepare(self) -> None:
        if os.geteuid() == 0:  # PostgreSQL refuses to run as root.
            account = pwd.getpwnam(OWNER)
            os.chown(self.folder, account.pw_uid, account.pw_gid)
        options = [f"--username={OWNER}", "--auth=trust", "--encoding=UTF8", "--locale=C.UTF-8", "--no-sync"]
        command = [*self._as_owner(), program("initdb"), "--pgdata", str(self.data), *options]
        done = subprocess.run(command, capture_output=True, text=True, cwd="/")
        if done.returncode:
            raise RuntimeError(f"initdb failed:\n{done.stdout}{done.stderr}")

    def _as_owner(self) -> list[str]:
        if os.geteuid() != 0:
            return dies_with_parent()
        return ["setpriv", f"--reuid={OWNER}", f"--regid={OWNER}", "--init-groups", "--pdeathsig", "QUIT"]

    def command(self) -> list[str]:
        options = ["listen_addresses=", f"unix_socket_directories={self.folder}", f"port={PORT}"]
        options += ["max_connections=200", "log_min_messages=warning", "timezone=UTC"]
        options += [] if self.durable else FAST
        return [
            *self._as_owner(),
            program("postgres"),
            "-D",
            str(self.data),
            *(part for option in options for part in ("-c", option)),
        ]

    def answers(self) -> bool:
        with self.connect(timeout=2):
            return True
