"""kill -9, SIGSTOP and power cuts in the middle of everything: nothing lost, nothing twice, nothing out of order."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.servers import Postgres
from tests.servers.databases import ROOT, PostgresDatabases, SqliteFiles, base_environment, manage
from tests.waiting import wait_until

pytestmark = [pytest.mark.timeout(500)]
TIMINGS = json.dumps({"claim_tries": 100, "wakeup_timeout_secs": 0.05})


class Ward:
    """A database of its own, and the processes of `tests.mailbox.crashes` on it."""

    def __init__(self, folder: Path, url: str) -> None:
        self.folder = folder
        self.environment = base_environment() | {
            "WARDROOM_URL": "http://testserver",
            "WARDROOM_DATA": str(folder),
            "WARDROOM_TIMINGS": TIMINGS,
            "DATABASE_URL": url,
            # Nobody listens: the rows are the truth, and wake-ups may all be lost.
            "REDIS_URL": "redis://127.0.0.1:1/0",
            "LOG_LEVEL": "ERROR",
            "DJANGO_SETTINGS_MODULE": "config.settings",
        }
        manage(self.environment, "migrate", "--noinput")
        ask = "from accounts import projects; print(projects.default().pk)"
        self.project = manage(self.environment, "shell", "-v0", "-c", ask).split()[-1]

    @contextmanager
    def at_work(self, *options: str) -> Iterator[subprocess.Popen[str]]:
        command = [sys.executable, "-m", "tests.mailbox.crashes", str(self.folder), "--project", self.project]
        pipe = subprocess.PIPE
        with (
            (self.folder / "stderr").open("w") as complaints,
            subprocess.Popen(
                [*command, *options], env=self.environment, cwd=ROOT, text=True, stdout=pipe, stderr=complaints
            ) as process,
        ):
            try:
                yield process
            finally:
                process.kill()

    def strikes(self) -> int:
        progress = self.folder / "progress"
        return int(progress.read_text() or 0) if progress.exists() else 0


def findings(process: subprocess.Popen[str]) -> dict[str, int]:
    told, _ = process.communicate(timeout=400)
    print(told)
    assert process.returncode == 0
    found: dict[str, int] = json.loads(told.splitlines()[-1])
    return found


def only(backend: str, wanted: str) -> None:
    """Each brings a database of its own: one run of the two is enough."""
    if backend != wanted:
        pytest.skip(f"is run with the {wanted} backend")


@pytest.fixture
def durable(backend: str) -> Iterator[Postgres]:
    """A PostgreSQL that keeps its promises, to be pulled the plug."""
    only(backend, "postgres")
    with Postgres(durable=True) as server:
        yield server


def whole(found: dict[str, int]) -> bool:
    return (found["lost"], found["twice"], found["order_breaks"], found["quarantined"]) == (0, 0, 0, 0)


def test_ten_thousand_messages_survive_a_hundred_kills_and_five_power_cuts(durable: Postgres, tmp_path: Path) -> None:
    ward = Ward(tmp_path, PostgresDatabases(durable.folder).create("crashes"))
    with ward.at_work() as process:
        for strikes in (18, 36, 54, 72, 90):
            wait_until(lambda strikes=strikes: ward.strikes() >= strikes or process.poll() is not None, 300)
            durable.restart(immediate=True)
        found = findings(process)
    assert found["kills"] >= 100
    assert found["sent"] == found["kept"] == 10_000
    assert whole(found), found


def test_they_survive_the_kills_on_sqlite_too(backend: str, tmp_path: Path) -> None:
    only(backend, "sqlite")
    ward = Ward(tmp_path, SqliteFiles(tmp_path).url("crashes"))
    with ward.at_work() as process:
        found = findings(process)
    assert found["kills"] >= 100
    assert found["sent"] == found["kept"] == 10_000
    assert whole(found), found


def test_without_the_fence_the_same_run_fails(backend: str, tmp_path: Path) -> None:
    only(backend, "sqlite")
    ward = Ward(tmp_path, SqliteFiles(tmp_path).url("crashes"))
    with ward.at_work("--without-fence", "--messages", "1000", "--kills", "0", "--pauses", "8") as process:
        found = findings(process)
    assert found["twice"] > 0
