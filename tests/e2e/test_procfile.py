"""The Procfile, as a platform runs it: released, started, asked to stop with SIGTERM, on real servers."""

import contextlib
import json
import os
import re
import secrets
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import kombu
import pytest
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import connect

from tests.servers import Redis, databases, free_port, processes
from tests.servers.databases import PostgresDatabases
from tests.servers.embedded import CLEAN, ROOT
from tests.servers.postgres import Cluster
from tests.servers.process import dies_with_parent, end_group, short_folder
from tests.waiting import wait_until

pytestmark = [pytest.mark.stack, pytest.mark.surface, pytest.mark.timeout(300)]
HONCHO = [sys.executable, "-m", "honcho", "--no-colour"]
# Platforms kill after thirty seconds; we promise to be gone by then.
DRAIN_SECS = 25


class Dyno:
    """The variables, folders and processes of one deployment."""

    def __init__(self, postgres: Any, static: Any) -> None:
        self.folder = short_folder()
        self.postgres, self.database = postgres, f"dyno_{secrets.token_hex(4)}"
        self.redis = Redis().start()
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.queue_url = self.redis.url()
        self.running: list[Any] = []
        self.environment = {name: os.environ[name] for name in CLEAN if name in os.environ} | {
            "SECRET_KEY": secrets.token_urlsafe(50),
            "WARDROOM_URL": self.url,
            "DATABASE_URL": postgres.create(self.database),
            "REDIS_URL": self.redis.url(),
            "WARDROOM_DATA": str(self.folder / "data"),
            "WARDROOM_STATIC_ROOT": str(static),
            "WORKER_CONCURRENCY": "2",
            "PORT": str(self.port),
        }
        self.environment["PATH"] = f"{Path(sys.executable).parent}:{self.environment['PATH']}"

    def run(self, *command: Any) -> Any:
        done = subprocess.run(command, cwd=ROOT, env=self.environment, capture_output=True, text=True, timeout=200)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def begin(self, command: Any, log: Any) -> Any:
        with (self.folder / log).open("ab") as file:
            process = subprocess.Popen(
                [*dies_with_parent(), *command],
                cwd=ROOT,
                env=self.environment,
                stdin=subprocess.DEVNULL,
                stdout=file,
                stderr=file,
                start_new_session=True,
            )
        self.running.append(process)
        return process

    def process(self, name: Any) -> Any:
        """One line of the Procfile, run as a platform does it."""
        line = re.search(rf"^{name}: (.+)$", (ROOT / "Procfile").read_text(), re.MULTILINE)[1]
        return self.begin(["sh", "-c", line], f"{name}.log")

    def said(self, name: Any) -> str:
        return (self.folder / f"{name}.log").read_text(errors="replace")

    def is_ready(self) -> bool:
        return httpx.get(f"{self.url}/readyz", timeout=5).status_code == 200

    def parts(self) -> Any:
        return httpx.get(f"{self.url}/readyz", timeout=5).json()["parts"]

    def close(self) -> None:
        for process in self.running:
            end_group(process, signal.SIGKILL)
        for pid in processes.mentioning(str(self.folder)):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        self.redis.close()
        self.postgres.drop(self.database)
        shutil.rmtree(self.folder, ignore_errors=True)


@pytest.fixture(scope="module")
def static(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """The folder for collected static files."""
    return tmp_path_factory.mktemp("static")


@pytest.fixture
def dyno(backend: str, postgres: Cluster, static: Any) -> Iterator[Any]:
    if backend != "postgres":
        pytest.skip("a deployment runs on PostgreSQL; once is enough")
    made = Dyno(postgres, static)
    yield made
    made.close()


@pytest.fixture(params=["redis", "rabbitmq"])
def migrated(request: pytest.FixtureRequest, dyno: Any) -> Any:
    """A deployment that has been released before, on either queue."""
    if request.param == "rabbitmq":
        url = request.getfixturevalue("rabbitmq").create(f"dyno-{secrets.token_hex(4)}")
        dyno.queue_url = dyno.environment["BROKER_URL"] = url
    dyno.postgres.drop(dyno.database)
    template = databases.migrated(PostgresDatabases(dyno.postgres.folder), dyno.environment)
    dyno.postgres.create(dyno.database, template=template)
    return dyno


def sigterm(process: Any) -> Any:
    """To every process of the dyno at once, as platforms do it."""
    began = time.monotonic()
    os.killpg(process.pid, signal.SIGTERM)
    process.wait(DRAIN_SECS)
    return time.monotonic() - began


def test_honcho_runs_the_whole_of_it(dyno: Any) -> None:
    dyno.run(sys.executable, "manage.py", "collectstatic", "--noinput", "-v", "0")
    dyno.run(*HONCHO, "start", "release")
    honcho = dyno.begin([*HONCHO, "start", "-p", str(dyno.port), "web", "worker", "beat", "ingest"], "honcho.log")
    wait_until(dyno.is_ready, 40)
    wait_until(lambda: "no RabbitMQ to take messages from" in dyno.said("honcho"))
    wait_until(lambda: dyno.parts()["beat"]["ok"])
    page = httpx.get(f"{dyno.url}/admin/login/").text
    sheet = re.search(r'href="(/static/[^"]+\.[0-9a-f]{12}\.css)"', page)[1]
    assert httpx.get(dyno.url + sheet).status_code == 200
    ours = processes.descendants(honcho.pid)
    honcho.terminate()
    honcho.wait(DRAIN_SECS)
    assert not [pid for pid in ours if processes.alive(pid)]


def test_a_release_without_its_variables_fails(dyno: Any) -> None:
    del dyno.environment["SECRET_KEY"]
    done = subprocess.run(
        [*HONCHO, "start", "release"], cwd=ROOT, env=dyno.environment, capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 1
    assert "SECRET_KEY is not set" in done.stdout + done.stderr


def test_a_worker_that_is_stopped_puts_its_tasks_back(migrated: Any) -> None:
    beat = migrated.process("beat")
    worker = migrated.process("worker")
    wait_until(lambda: "ready." in migrated.said("worker"), 30)
    with migrated.postgres.connect(migrated.database) as database, database.transaction():
        # Every sweep notes that it runs: none can get on.
        database.execute("LOCK TABLE ledger_sweep IN ACCESS EXCLUSIVE MODE")
        wait_until(lambda: blocked(migrated) >= 2, 30)
        beat.terminate()
        beat.wait(10)
        waiting = queued(migrated.queue_url)
        assert sigterm(worker) < DRAIN_SECS
        assert wait_until(lambda: queued(migrated.queue_url) >= waiting + 2)


def test_ingest_takes_what_waits_or_idles_and_ends_cleanly_when_it_is_stopped(migrated: Any) -> None:
    url = migrated.environment.get("BROKER_URL", "")
    ingest = migrated.process("ingest")
    if url:
        wait_until(lambda: "taking messages" in migrated.said("ingest"), 30)
        message = {"id": "1", "address": "desk", "message_kind": "task", "body": "do it"}
        wait_until(lambda: sent(url, message))
        with migrated.postgres.connect(migrated.database) as database:
            wait_until(lambda: database.execute("SELECT count(*) FROM mailbox_message").fetchone() == (1,))
    else:
        wait_until(lambda: "idle until stopped" in migrated.said("ingest"), 30)
    assert sigterm(ingest) < DRAIN_SECS
    # The shell before it may have ended first.
    wait_until(lambda: f"stopped after {1 if url else 0} messages" in migrated.said("ingest"), DRAIN_SECS)


def sent(url: Any, message: Any) -> bool:
    """To the default project's queue, once ingest has made it."""
    # Without the broker's confirm, a message to a new quorum queue is lost when the connection closes too soon.
    with kombu.Connection(url, transport_options={"confirm_publish": True}) as broker:
        queue = "wardroom.ingest.default"
        channel: Any = broker.default_channel
        channel.queue_declare(queue, passive=True)
        kombu.Producer(broker).publish(message, routing_key=queue, delivery_mode=2)
    return True


def test_web_concurrency_is_so_many_web_processes_of_one_dyno_which_all_end(migrated: Any) -> None:
    migrated.environment["WEB_CONCURRENCY"] = "2"
    web = migrated.process("web")
    wait_until(migrated.is_ready, 60)
    started = [web.pid, *wait_until(lambda: found if len(found := processes.descendants(web.pid)) >= 2 else None, 30)]
    assert sigterm(web) < DRAIN_SECS
    wait_until(lambda: not any(processes.alive(pid) for pid in started), 10)


def test_the_formation_names_every_line_of_the_procfile() -> None:
    lines = {line.partition(":")[0] for line in (ROOT / "Procfile").read_text().splitlines()}
    assert set(json.loads((ROOT / "app.json").read_text())["formation"]) == lines - {"release"}


def test_a_web_process_that_is_stopped_sends_its_children_to_another(migrated: Any) -> None:
    key = administrator(migrated)
    web = migrated.process("web")
    wait_until(migrated.is_ready, 40)
    headers = {"Authorization": f"Bearer {key}"}
    with httpx.Client(base_url=f"{migrated.url}/api/v1", headers=headers, timeout=30) as api:
        spawned = api.post("/sessions", json={"runner": "external", "assignment": "wait"}).json()
        hello = {"kind": "hello", "attempt": spawned["attempt"]}
        with child_socket(spawned) as socket, api.stream("GET", "/feed", headers=EVENTS) as stream:
            socket.send(json.dumps(hello))
            assert json.loads(socket.recv(timeout=10))["kind"] == "welcome"
            assert stream.status_code == 200
            took = sigterm(web)
            with pytest.raises(ConnectionClosed) as closed:
                while True:
                    socket.recv(timeout=5)
            assert closed.value.rcvd.code == 1012
    assert took < DRAIN_SECS


EVENTS = {"Accept": "text/event-stream"}


def administrator(dyno: Any) -> Any:
    """A first person and a key, as docs/operations.md says; gives the key."""
    environment = dyno.environment | {"DJANGO_SUPERUSER_PASSWORD": secrets.token_urlsafe(12)}
    create = ["createsuperuser", "--noinput", "--username", "ada", "--email", "ada@example.com"]
    subprocess.run([sys.executable, "manage.py", *create], cwd=ROOT, env=environment, check=True, timeout=100)
    return dyno.run(sys.executable, "manage.py", "create_api_key", "--user", "ada").split()[-1]


def child_socket(spawned: Any) -> Any:
    child = spawned["child"]
    headers = {"Authorization": f"Bearer {child['token']}"}
    return connect(child["websocket_url"], subprotocols=["wardroom.v1"], additional_headers=headers, proxy=None)


def blocked(dyno: Any) -> Any:
    with dyno.postgres.connect() as database:
        asked = "SELECT count(*) FROM pg_stat_activity WHERE datname = %s AND wait_event_type = 'Lock'"
        return database.execute(asked, [dyno.database]).fetchone()[0]


def queued(url: Any) -> Any:
    with kombu.Connection(url, transport_options={"global_keyprefix": "wardroom:"} if "redis" in url else {}) as broker:
        channel: Any = broker.default_channel
        return channel.queue_declare("celery", passive=url.startswith("amqp")).message_count
