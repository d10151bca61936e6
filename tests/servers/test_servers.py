"""The private servers keep their promises and leave nothing behind."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.servers import Postgres, Redis, Valkey, free_port
from tests.servers.databases import ROOT
from tests.waiting import wait_until

pytestmark = pytest.mark.once


def gone(pid: int) -> bool:
    """No such process, or only a zombie, which still answers signal 0."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except FileNotFoundError:
        return True


@pytest.mark.parametrize("kind", [Valkey, Redis])
@pytest.mark.parametrize("ending", ["stop", "kill"])
def test_a_restarted_server_has_its_keys_again(kind: type[Redis], ending: str) -> None:
    with kind() as server:
        with server.client() as client:
            client.set("key", "kept")
            client.execute_command("WAIT", "0", "100")
        pid = server.pid
        getattr(server, ending)()
        assert gone(pid)
        server.start()
        with server.client() as client:
            assert client.get("key") == b"kept"


def test_a_killed_postgres_starts_again_with_its_rows() -> None:
    with Postgres(durable=True) as server:
        server.create("shop")
        with server.connect("shop") as connection:
            connection.execute("CREATE TABLE kept (n int)")
            connection.execute("INSERT INTO kept VALUES (7)")
        server.kill()
        server.start()
        with server.connect("shop") as connection:
            row = connection.execute("SELECT n FROM kept").fetchone()
    assert row == (7,)


def test_a_database_is_copied_from_its_template() -> None:
    with Postgres() as server:
        server.create("one")
        with server.connect("one") as connection:
            connection.execute("CREATE TABLE mark ()")
        server.create("two", template="one")
        with server.connect("two") as connection:
            assert connection.execute("SELECT count(*) FROM mark").fetchone() == (0,)
        server.drop("two")
        assert not server.exists("two")


def test_closing_leaves_no_process_and_no_folder() -> None:
    server = Valkey().start()
    pid = server.pid
    server.close()
    assert not server.folder.exists()
    wait_until(lambda: gone(pid), 5)


def test_a_port_is_given_away_once_while_its_server_is_not_up_yet(monkeypatch: pytest.MonkeyPatch) -> None:
    other = [sys.executable, "-c", "from tests.servers import free_port; print(free_port(), flush=True); input()"]
    with subprocess.Popen(other, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as run:
        assert run.stdout is not None
        theirs, ours = int(run.stdout.readline()), free_port()
        for port in (theirs, ours):
            monkeypatch.setattr("random.sample", lambda *_, port=port: [port])
            with pytest.raises(RuntimeError, match="no free port"):
                free_port()
        run.communicate("\n")
    monkeypatch.setattr("random.sample", lambda *_: [theirs])
    assert free_port() == theirs, "and again when that run is over"


def test_only_its_owner_can_open_the_folder() -> None:
    with Valkey() as server:
        assert server.folder.stat().st_mode & 0o777 == 0o700
        assert os.path.samestat(server.socket.parent.stat(), server.folder.stat())
