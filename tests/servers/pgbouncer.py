"""A private PgBouncer in transaction mode, before a private PostgreSQL: each transaction may get another connection."""

import os
import pwd
import shutil
from pathlib import Path
from urllib.parse import quote

import psycopg

from tests.servers.postgres import OWNER, PORT
from tests.servers.process import Server, ServerMissing, dies_with_parent

POOL_PORT = 6432  # Only part of the socket's file name.


class PgBouncer(Server):
    """The pooler of the PostgreSQL with its socket in `behind`. It has few connections, so that none is kept."""

    name = "PgBouncer"

    def __init__(self, behind: Path, *, connections: int = 3) -> None:
        Server.__init__(self)
        self.behind = behind
        self.connections = connections

    def program(self) -> str:
        found = shutil.which("pgbouncer") or shutil.which("pgbouncer", path="/usr/sbin")
        if not found:
            raise ServerMissing("pgbouncer is not installed: run scripts/install_test_servers.sh as root")
        return found

    def prepare(self) -> None:
        lines = [
            "[databases]",
            f"* = host={self.behind} port={PORT} user={OWNER}",
            "[pgbouncer]",
            f"unix_socket_dir = {self.folder}",
            f"listen_port = {POOL_PORT}",
            "auth_type = any",
            "pool_mode = transaction",
            f"default_pool_size = {self.connections}",
            "max_client_conn = 500",
            # A round of connections: each statement outside a transaction likely meets another one.
            "server_round_robin = 1",
        ]
        (self.folder / "pgbouncer.ini").write_text("\n".join(lines) + "\n")
        if os.geteuid() == 0:  # It refuses to run as root.
            account = pwd.getpwnam(OWNER)
            os.chown(self.folder, account.pw_uid, account.pw_gid)
            (self.folder / "pgbouncer.ini").chmod(0o644)

    def command(self) -> list[str]:
        owner = ["setpriv", f"--reuid={OWNER}", f"--regid={OWNER}", "--init-groups", "--pdeathsig", "KILL"]
        before = owner if os.geteuid() == 0 else dies_with_parent()
        return [*before, self.program(), str(self.folder / "pgbouncer.ini")]

    def url(self, database: str) -> str:
        return f"postgres://{OWNER}@{quote(str(self.folder), safe='')}:{POOL_PORT}/{database}"

    def answers(self) -> bool:
        psycopg.connect(self.url(OWNER), connect_timeout=2).close()
        return True
