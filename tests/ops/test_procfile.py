"""The Procfile, as a platform runs it: released, started, asked to stop with SIGTERM, on real servers."""

import os
import re
import secrets
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import httpx
import kombu
import pytest

from tests.ops import processes
from tests.ops.embedded import CLEAN, ROOT
from tests.servers import Redis, free_port
from tests.servers.process import dies_with_parent, end_group, short_folder
from tests.waiting import wait_until

pytestmark = [pytest.mark.stack, pytest.mark.timeout(300)]
HONCHO = [sys.executable, "-m", "honcho", "--no-colour"]
# Platforms kill after thirty seconds; we promise to be gone by then.
DRAIN_SECS = 25


class Dyno:
    """The variables, folders and processes of one deployment."""

    def __init__(self, postgres, static, queue_url=""):
        self.folder = short_folder()
        self.postgres, self.database = postgres, f"dyno_{secrets.token_hex(4)}"
        self.redis = Redis().start()
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.queue_url = queue_url or self.redis.url()
        self.running = []
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
        if queue_url:
            self.environment["BROKER_URL"] = queue_url
        self.environment["PATH"] = f"{Path(sys.executable).parent}:{self.environment['PATH']}"

    def run(self, *command):
        done = subprocess.run(command, cwd=ROOT, env=self.environment, capture_output=True, text=True, timeout=200)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def begin(self, command, log):
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

    def process(self, name):
        """One line of the Procfile, run as a platform does it."""
        line = re.search(rf"^{name}: (.+)$", (ROOT / "Procfile").read_text(), re.MULTILINE)[1]
        return self.begin(["sh", "-c", line], f"{name}.log")

    def said(self, name):
        return (self.folder / f"{name}.log").read_text(errors="replace")

    def is_ready(self):
        return httpx.get(f"{self.url}/readyz", timeout=5).status_code == 200

    def parts(self):
        return httpx.get(f"{self.url}/readyz", timeout=5).json()["parts"]

    def close(self):
        for process in self.running:
            end_group(process, signal.SIGKILL)
        for pid in processes.mentioning(str(self.folder)):
            os.kill(pid, signal.SIGKILL)
        self.redis.close()
        self.postgres.drop(self.database)
        shutil.rmtree(self.folder, ignore_errors=True)


@pytest.fixture(scope="module")
def static(tmp_path_factory):
    """Where the build collects what the admin looks like, once for all."""
    return tmp_path_factory.mktemp("static")


@pytest.fixture(params=["redis", "rabbitmq"])
def dyno(request, backend, postgres, static):
    if backend != "postgres":
        pytest.skip("a deployment runs on PostgreSQL; once is enough")
    queue_url = ""
    if request.param == "rabbitmq":
        queue_url = request.getfixturevalue("rabbitmq").create(f"dyno-{secrets.token_hex(4)}")
    made = Dyno(postgres, static, queue_url)
    yield made
    made.close()


@pytest.fixture
def released(dyno):
    if not any(Path(dyno.environment["WARDROOM_STATIC_ROOT"]).iterdir()):
        dyno.run(sys.executable, "manage.py", "collectstatic", "--noinput", "-v", "0")
    dyno.run(*HONCHO, "start", "release")
    return dyno


def sigterm(process):
    """To every process of the dyno at once, as platforms do it."""
    began = time.monotonic()
    os.killpg(process.pid, signal.SIGTERM)
    process.wait(DRAIN_SECS)
    return time.monotonic() - began


def test_honcho_runs_the_whole_of_it(released):
    honcho = released.begin([*HONCHO, "start", "-p", str(released.port), "web", "worker", "beat"], "honcho.log")
    wait_until(released.is_ready, 40)
    wait_until(lambda: released.parts()["beat"]["ok"], 20)
    page = httpx.get(f"{released.url}/admin/login/").text
    sheet = re.search(r'href="(/static/[^"]+\.[0-9a-f]{12}\.css)"', page)[1]
    assert httpx.get(released.url + sheet).status_code == 200
    ours = processes.descendants(honcho.pid)
    honcho.terminate()
    honcho.wait(DRAIN_SECS)
    assert not [pid for pid in ours if processes.alive(pid)]


def test_a_release_without_its_variables_fails(dyno):
    del dyno.environment["SECRET_KEY"]
    done = subprocess.run(
        [*HONCHO, "start", "release"], cwd=ROOT, env=dyno.environment, capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 1
    assert "SECRET_KEY is not set" in done.stdout + done.stderr


def test_a_worker_that_is_stopped_puts_its_tasks_back(released):
    beat = released.process("beat")
    worker = released.process("worker")
    wait_until(lambda: "ready." in released.said("worker"), 30)
    with released.postgres.connect(released.database) as line, line.transaction():
        # Every sweep notes that it runs: none can get on.
        line.execute("LOCK TABLE ledger_sweep IN ACCESS EXCLUSIVE MODE")
        wait_until(lambda: blocked(released) >= 2, 30)
        beat.terminate()
        beat.wait(10)
        waiting = queued(released.queue_url)
        assert sigterm(worker) < DRAIN_SECS
        assert wait_until(lambda: queued(released.queue_url) >= waiting + 2, 10)


def blocked(dyno):
    with dyno.postgres.connect() as line:
        asked = "SELECT count(*) FROM pg_stat_activity WHERE datname = %s AND wait_event_type = 'Lock'"
        return line.execute(asked, [dyno.database]).fetchone()[0]


def queued(url):
    with kombu.Connection(url, transport_options={"global_keyprefix": "wardroom:"} if "redis" in url else {}) as line:
        return line.default_channel.queue_declare("celery", passive=url.startswith("amqp")).message_count
