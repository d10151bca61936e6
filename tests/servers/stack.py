"""A whole Wardroom of real processes, for one test: web processes, worker, beat, broker and a fresh database.

def test_a_decision_on_another_web_process_reaches_the_child(stack):
    house = stack(web=2, database="postgres", broker="rabbitmq")
    house.client().post("/api/v1/sessions", json=...)
    house.kill("worker"); house.start("worker")
"""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import shutil
import signal
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

from tests.servers.databases import ADMIN, ROOT, manage
from tests.servers.pgbouncer import PgBouncer
from tests.servers.process import LAST_SIGNAL, dies_with_parent, end_group, free_port, short_folder, spawn
from tests.servers.redis import Redis, Valkey
from tests.servers.run import Run
from tests.waiting import wait_until

READY_SECONDS = 90.0

WEB = "config.asgi:application"
#: How uvicorn is started, as in the Procfile.
WEB_OPTIONS: dict[str, Any] = {
    "http": "server.front.connection:FrontConnection",
    "lifespan": "on",
    "timeout_graceful_shutdown": 3,
    "ws_max_size": 2 * 1024 * 1024,
    "ws_ping_interval": 20,
    "ws_ping_timeout": 20,
    "ws_per_message_deflate": False,
}
#: The same in a thread of the tests, where each test begins and ends the lease of the web process.
IN_A_THREAD = WEB_OPTIONS | {"lifespan": "off", "log_level": "warning"}


@dataclass
class Service:
    """One service of the Wardroom: its command, and the running process."""

    command: list[str]
    process: subprocess.Popen[bytes] | None = None
    log_start: int = 0

    @property
    def running(self) -> bool:
        return self.process is not None and self.process.poll() is None


class House:
    """A running Wardroom. `services` are named web1, web2, ..., worker, beat; `broker` is the Redis or Valkey."""

    def __init__(
        self,
        run: Run,
        *,
        database: str,
        broker: str,
        web: int = 1,
        worker: bool = True,
        beat: bool = True,
        runners: bool = False,
        timings: Mapping[str, Any] | None = None,
        env: Mapping[str, str] | None = None,
        pooled: bool = False,
    ) -> None:
        self.folder = short_folder()
        self._run = run
        self._clients: list[httpx.Client] = []
        self._databases = run.databases(database)
        self._database = f"house_{secrets.token_hex(4)}"
        template, self.key = run.furnished(database)
        self.admin_name, self.admin_password = ADMIN
        self.broker: Redis = Redis() if broker == "redis" or database == "postgres" else Valkey()
        self.pooler: PgBouncer | None = None
        self.rabbitmq = run.up(run.rabbitmq) if broker == "rabbitmq" else None
        ports = [free_port() for _ in range(web)]
        self.urls = [f"http://127.0.0.1:{port}" for port in ports]
        self.environment = {
            **run.environment(),
            "WARDROOM_URL": self.urls[0] if ports else "http://127.0.0.1:1",
            "WARDROOM_DATA": str(self.folder / "data"),
            "DATABASE_URL": self._address(template, pooled),
            "REDIS_URL": self.broker.url(),
            "BROKER_URL": self._queue(),
            "WARDROOM_TIMINGS": json.dumps(dict(timings or {})),
            **(env or {}),
        }
        self.services = {f"web{n}": Service(web_command(port)) for n, port in enumerate(ports, 1)}
        if worker:
            self.services["worker"] = Service(worker_command())
        if beat:
            self.services["beat"] = Service(beat_command(self.folder))
        if runners:
            self.services["runners"] = Service([sys.executable, "manage.py", "runners"])

    def _address(self, template: str, pooled: bool) -> str:
        """The URL of a fresh database; with `pooled` that of a PgBouncer in transaction mode before it."""
        url = self._databases.copy(template, self._database)
        if not pooled:
            return url
        self.pooler = PgBouncer(self._databases.folder).start()
        return f"{self.pooler.url(self._database)}?pgbouncer=true"

    def _queue(self) -> str:
        if self.rabbitmq is None:
            return self.broker.queue_url()
        return self.rabbitmq.create(self._database)

    @property
    def url(self) -> str:
        return self.urls[0]

    @property
    def data(self) -> Path:
        return Path(self.environment["WARDROOM_DATA"])

    # --- life -----------------------------------------------------------------------------------------------

    def open(self) -> House:
        """Start everything, and return when every web process says that it is ready."""
        self.data.mkdir(mode=0o700, exist_ok=True)
        self.broker.start()
        for name in self.services:
            self.start(name, wait=False)
        for name in self.services:
            self.wait_ready(name)
        return self

    def start(self, name: str, *, wait: bool = True) -> None:
        service = self.services[name]
        with self.log(name).open("ab") as log:
            service.log_start = log.tell()
            service.process = spawn([*dies_with_parent(), *service.command], log=log, env=self.environment, cwd=ROOT)
        if wait:
            self.wait_ready(name)

    def stop(self, name: str, *, timeout: float = 30.0) -> None:
        """SIGTERM, as a platform does it."""
        self._end(name, signal.SIGTERM, timeout)

    def kill(self, *names: str) -> None:
        """kill -9 of the service and its own process group (a worker's pool too)."""
        for name in names:
            process = self._process(name)
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
        for name in names:
            self._end(name, signal.SIGKILL, 10)

    def restart(self, name: str) -> None:
        self.stop(name)
        self.start(name)

    def pause(self, name: str) -> None:
        """SIGSTOP: it holds its sockets and answers nothing."""
        os.killpg(self._process(name).pid, signal.SIGSTOP)

    def resume(self, name: str) -> None:
        os.killpg(self._process(name).pid, signal.SIGCONT)

    def wait_ready(self, name: str) -> None:
        """A web process is ready when its /readyz says 200, a worker when it says so; beat at once."""
        service = self.services[name]
        wait_until(lambda: not service.running or self._is_ready(name), READY_SECONDS, why=f"{name} being ready")
        assert service.running, f"{name} ended at once:\n{self.logs(name)[-4000:]}"

    def _is_ready(self, name: str) -> bool:
        if name.startswith("web"):
            url = self.urls[int(name.removeprefix("web")) - 1]
            return httpx.get(f"{url}/readyz", timeout=5).status_code == 200
        said = {"worker": b" ready.", "runners": b"hosting "}.get(name.rstrip("0123456789"), b"")
        return said in self.log(name).read_bytes()[self.services[name].log_start :]

    def _process(self, name: str) -> subprocess.Popen[bytes]:
        process = self.services[name].process
        assert process is not None, f"{name} is not running"
        return process

    def _end(self, name: str, sig: signal.Signals, timeout: float) -> None:
        end_group(self._process(name), sig, timeout)
        self.services[name].process = None

    # --- talking to it ----------------------------------------------------------------------------------------

    def client(self, web: int = 1, *, key: str | None = None, **options: Any) -> httpx.Client:
        """An HTTP client with the API key, bound to one web process. The house closes it."""
        headers = {"Authorization": f"Bearer {key or self.key}", **options.pop("headers", {})}
        client = httpx.Client(base_url=self.urls[web - 1], headers=headers, timeout=30, **options)
        self._clients.append(client)
        return client

    def socket_url(self, path: str, web: int = 1) -> str:
        return self.urls[web - 1].replace("http", "ws", 1) + path

    def manage(self, *words: str, timeout: float = 60) -> str:
        """Run a management command on this Wardroom, and return its output."""
        return manage(self.environment, *words, timeout=timeout)

    def log(self, name: str) -> Path:
        return self.folder / f"{name}.log"

    def logs(self, *names: str) -> str:
        """Return the logs of these services, or of all."""
        parts = [f"--- {name}\n{_read(self.log(name))}" for name in names or self.services]
        return "\n".join(parts)

    # --- the end ----------------------------------------------------------------------------------------------

    def close(self) -> None:
        """End every process of the Wardroom by its id: services, broker, supervisors, and their children."""
        for client in self._clients:
            client.close()
        for service in self.services.values():
            if service.process is not None:
                end_group(service.process, LAST_SIGNAL)
        for pid in [*supervisors_in(self.data), *processes_naming(str(self.folder))]:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        self.broker.close()
        if self.pooler is not None:
            self.pooler.close()
        if self.rabbitmq is not None:
            self._run.up(self.rabbitmq)  # A test may have left it stopped.
        self._databases.drop(self._database)
        shutil.rmtree(self.folder, ignore_errors=True)


def web_command(port: int) -> list[str]:
    options = WEB_OPTIONS | {"host": "127.0.0.1", "port": port}
    words = [word for name, value in options.items() for word in (f"--{name.replace('_', '-')}", str(value))]
    return [sys.executable, "-m", "uvicorn", WEB, *words]


def worker_command() -> list[str]:
    options = ["-c", "2", "--without-gossip", "--without-mingle", "-l", "INFO"]
    return [sys.executable, "-m", "celery", "-A", "config", "worker", *options]


def beat_command(folder: Path) -> list[str]:
    options = ["-s", str(folder / "schedule"), "-l", "INFO"]
    return [sys.executable, "-m", "celery", "-A", "config", "beat", *options]


def supervisors_in(data: Path) -> list[int]:
    """Return each running supervisor of a data folder and its guard. Only their state files name the folder."""
    found: list[int] = []
    for file in data.glob("supervisors/*.json"):
        with contextlib.suppress(OSError, ValueError):
            supervisor = json.loads(file.read_text())["pid"]
            guard = int(Path(f"/proc/{supervisor}/stat").read_text().rpartition(")")[2].split()[1])
            found += [guard, supervisor]
    return [pid for pid in found if pid > 1]


def processes_naming(text: str) -> list[int]:
    """Return every process with `text` in its command, environment or folder.

    Supervisors outlive the services on purpose, each in a session of its own: this is how a test finds them again.
    """
    named = {int(entry.name) for entry in Path("/proc").iterdir() if entry.name.isdigit() and _names(entry, text)}
    named.discard(os.getpid())
    return sorted(named)


def _names(entry: Path, text: str) -> bool:
    try:
        told = (entry / "cmdline").read_bytes() + (entry / "environ").read_bytes()
        return text.encode() in told or os.readlink(entry / "cwd").startswith(text)
    except OSError:
        return False


def _read(path: Path) -> str:
    try:
        return path.read_text(errors="replace")
    except OSError:
        return ""
