"""A full disk, a held write lock, a database that is away: 503 with `Retry-After` at every face, and back by itself."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.conftest import RUN
from tests.server.front import faces
from tests.servers.process import short_folder
from tests.servers.stack import House
from tests.waiting import wait_until

pytestmark = [pytest.mark.stack, pytest.mark.timeout(240)]
TRY_AGAIN = 1013
UNAVAILABLE = (503, "unavailable", "5")


@pytest.fixture
def only_sqlite(backend: str) -> None:
    if backend != "sqlite":
        pytest.skip("a file of its own and one write lock are SQLite's")


@pytest.fixture
def only_postgres(backend: str) -> None:
    if backend != "postgres":
        pytest.skip("SQLite is no server that could be away")


def refuse_everywhere(house: House, client: httpx.Client, session: str) -> None:
    """Every face that writes refuses in the same words, and the admin with a page."""
    for face in faces.WRITES:
        assert faces.refusal(faces.write(client, face, session)) == UNAVAILABLE, face
    page = faces.sign_in(house)
    assert (page.status_code, page.headers["retry-after"]) == (503, "5")
    assert page.headers["content-type"].startswith("text/html") and "Wardroom cannot do this now" in page.text


def write_everywhere(house: House, client: httpx.Client, session: str) -> None:
    for face in faces.WRITES:
        assert faces.write(client, face, session).status_code in (200, 201), face
    assert faces.sign_in(house).status_code == 302


# --- a held write lock --------------------------------------------------------------------------------------------

HOLD = """
import sqlite3, sys
held = sqlite3.connect(sys.argv[1], isolation_level=None)
held.execute("BEGIN IMMEDIATE")
print("held", flush=True)
sys.stdin.read()
"""


@contextmanager
def write_lock_of(house: House) -> Iterator[None]:
    """Another process that holds SQLite's one write lock."""
    file = house.environment["DATABASE_URL"].removeprefix("sqlite:///")
    command = [sys.executable, "-c", HOLD, file]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as holder:
        assert holder.stdout is not None and holder.stdout.readline() == b"held\n"
        yield
        holder.communicate()


def test_a_write_lock_that_another_process_holds_is_a_503_and_said(
    stack: Callable[..., House], only_sqlite: Any
) -> None:
    house = stack(worker=False, beat=False, timings={"write_lock_secs": 1})
    client = house.client()
    made = faces.spawned(client)
    with write_lock_of(house):
        refuse_everywhere(house, client, made["id"])
        assert faces.close_code(house, made["child"], made["id"]) == TRY_AGAIN
        said = {"ok": False, "error": "another process holds the write lock of the database"}
        wait_until(lambda: faces.parts(house)["parts"]["writes"] == said)
        assert faces.parts(house)["status"] == "degraded"
        assert client.get(f"/api/v1/sessions/{made['id']}").status_code == 200
    write_everywhere(house, client, made["id"])
    wait_until(lambda: faces.parts(house)["parts"]["writes"] == {"ok": True})


def test_a_lock_of_postgresql_that_is_held_is_a_503_and_said(stack: Callable[..., House], only_postgres: Any) -> None:
    house = stack(worker=False, beat=False, timings={"write_lock_secs": 1})
    client = house.client()
    made = faces.spawned(client)
    name = house.environment["DATABASE_URL"].rpartition("/")[2]
    with house._databases.connect(name) as database, database.transaction():  # type: ignore[attr-defined]
        # A row, and whole tables, also from those who only read.
        database.execute("SELECT 1 FROM mailbox_address FOR UPDATE")
        database.execute("LOCK TABLE orchestration_session, mailbox_message, django_session IN ACCESS EXCLUSIVE MODE")
        refuse_everywhere(house, client, made["id"])
        assert faces.refusal(client.get(f"/api/v1/sessions/{made['id']}")) == UNAVAILABLE
        assert faces.close_code(house, made["child"], made["id"]) == TRY_AGAIN
        said = {"ok": False, "error": "another transaction holds a lock of the database"}
        wait_until(lambda: faces.parts(house)["parts"]["writes"] == said)
    write_everywhere(house, client, made["id"])


# --- a full disk --------------------------------------------------------------------------------------------------


@pytest.fixture
def small_disk(only_sqlite: Any) -> Iterator[Path]:
    """A disk of a few megabytes."""
    folder = short_folder()
    mount = ["mount", "-t", "tmpfs", "-o", "size=12m,mode=0700", "tmpfs", str(folder)]
    if os.geteuid() != 0 or subprocess.run(mount, capture_output=True).returncode:
        pytest.skip("only root can mount a small disk")
    yield folder
    subprocess.run(["umount", "-l", str(folder)], check=True)
    folder.rmdir()


def fill(disk: Path) -> Path:
    """A file that takes all that is left."""
    path = disk / "filler"
    with path.open("wb", buffering=0) as file:
        for size in (65536, 4096, 512, 1):
            try:
                while file.write(b"x" * size) == size:
                    pass
            except OSError:
                continue
    return path


def test_a_full_disk_is_a_503_and_said(stack: Callable[..., House], small_disk: Path) -> None:
    template, _ = RUN.furnished("sqlite")
    database = small_disk / "wardroom.sqlite3"
    shutil.copyfile(RUN.databases("sqlite").path(template), database)  # type: ignore[attr-defined]
    house = stack(worker=False, beat=False, env={"DATABASE_URL": f"sqlite:///{database}"})
    client = house.client()
    made = faces.spawned(client)
    filler = fill(small_disk)
    wait_until(lambda: faces.write(client, "DRF", made["id"]).status_code == 503)
    refuse_everywhere(house, client, made["id"])
    assert faces.close_code(house, made["child"], made["id"]) == TRY_AGAIN
    wait_until(lambda: "disk" in faces.parts(house)["parts"]["writes"].get("error", ""))
    # SQLite cannot even open the file when it has to make its shared memory anew.
    assert faces.parts(house)["status"] in ("degraded", "unavailable")
    assert client.get(f"/api/v1/sessions/{made['id']}").status_code in (200, 503)
    filler.unlink()
    write_everywhere(house, client, made["id"])
    wait_until(lambda: faces.parts(house)["parts"]["writes"] == {"ok": True})


# --- a database that is away --------------------------------------------------------------------------------------


def test_a_database_that_is_away_is_a_503_and_said(stack: Callable[..., House], only_postgres: Any) -> None:
    house = stack(worker=False, beat=False)
    client = house.client()
    made = faces.spawned(client)
    name = house.environment["DATABASE_URL"].rpartition("/")[2]
    with house._databases.connect() as database:  # type: ignore[attr-defined]
        database.execute(f'ALTER DATABASE "{name}" ALLOW_CONNECTIONS false')
        database.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s", [name])
        wait_until(lambda: faces.parts(house)["status"] == "unavailable", 30)
        for face in faces.WRITES:
            assert faces.refusal(faces.write(client, face, made["id"])) == UNAVAILABLE, face
        assert faces.refusal(client.get("/api/v1/sessions")) == UNAVAILABLE
        assert faces.close_code(house, made["child"], made["id"]) == TRY_AGAIN
        database.execute(f'ALTER DATABASE "{name}" ALLOW_CONNECTIONS true')
    wait_until(lambda: faces.parts(house)["parts"]["database"]["ok"], 60)
    write_everywhere(house, client, made["id"])


def test_a_pool_without_a_free_connection_is_a_503(stack: Callable[..., House], only_postgres: Any) -> None:
    house = stack(worker=False, beat=False, env={"WARDROOM_DB_POOL": "1"})
    client, other = house.client(), house.client()
    made = faces.spawned(client)
    name = house.environment["DATABASE_URL"].rpartition("/")[2]
    with house._databases.connect(name) as database, database.transaction():  # type: ignore[attr-defined]
        database.execute("LOCK TABLE orchestration_session IN ACCESS EXCLUSIVE MODE")
        with pytest.raises(httpx.ReadTimeout):
            client.get(f"/api/v1/sessions/{made['id']}", timeout=0.5)
        assert faces.refusal(other.get("/api/v1/approvals")) == UNAVAILABLE
    wait_until(lambda: other.get("/api/v1/approvals").status_code == 200)
