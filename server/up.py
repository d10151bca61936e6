"""The steps of `manage.py up`: one Wardroom in the foreground. It starts only parts that the environment lacks."""

import contextlib
import os
import socket
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from django.conf import settings
from django.core.management import call_command
from django.core.management.commands import migrate
from django.db import OperationalError, connections

from core import environment as core_environment
from orchestration.runners import registry
from server import clean_stop, data_folder, first_start, valkey
from server.data_folder import DataFolder, EmbeddedError
from server.process_manager import Part, ProcessManager, Running

# Under ten seconds, together with the time of the supervisors.
SERVICES_STOP_SECS = 4.0
BROKER_STOP_SECS = 1.5
READY_SECS = 60.0


class Stopped(Exception):
    """A stop was requested between two migrations. Each is a transaction, and the next start goes on after it."""


class Migrate(migrate.Command):
    """`migrate`, which ends after the current migration when a stop is requested: all of them take many seconds."""

    def __init__(self, is_stopping: Callable[[], bool]) -> None:
        super().__init__()
        self.is_stopping = is_stopping

    def migration_progress_callback(self, action: str, migration: Any = None, fake: bool = False) -> None:
        """Look for a stop before each migration."""
        if action == "apply_start" and self.is_stopping():
            raise Stopped
        super().migration_progress_callback(action, migration, fake)


class Up:
    """One run of `up`: prepare, serve until a signal, stop everything."""

    def __init__(self, folder: DataFolder) -> None:
        self.folder = folder
        self.manager = ProcessManager()
        self.broker: Running | None = None
        self.services: list[Running] = []
        self.started_at = time.monotonic()
        self.is_ready = False

    def run(self) -> None:
        """Run until a stop is requested. Raises EmbeddedError when it cannot start; then it leaves nothing running."""
        core_environment.number("WORKER_CONCURRENCY", 2, low=1, high=256)
        held = data_folder.lock(self.folder)
        refuse_taken_port(os.environ["HOST"], int(os.environ["PORT"]))
        self.manager.listen_to_signals()
        try:
            self.prepare()
            if not self.manager.stopping:
                self.serve()
        finally:
            self.end()
            os.close(held)

    def prepare(self) -> None:
        """Run the steps before the services start, one after the other."""
        self.folder.remember_start(os.environ)
        for step in (self.start_broker, self.migrate, self.greet):
            if not self.manager.stopping:
                step()
        connections.close_all()

    # The steps

    def start_broker(self) -> None:
        if os.environ["REDIS_URL"] != self.folder.broker_url:
            return
        with self.step("starting the private broker"):
            part = Part(
                "valkey",
                valkey.command(self.folder),
                os.environ,
                before=lambda: valkey.clear_socket(self.folder),
                umask=0o077,
            )
            self.broker = self.manager.add(part)
            self.await_broker(self.broker)

    def await_broker(self, broker: Running) -> None:
        """Wait for its PONG. Unreadable files are moved away once: the database holds the same facts."""
        began, is_first_try = time.monotonic(), True
        while not valkey.answers(self.folder):
            self.manager.watch(0.05)
            if self.manager.stopping:
                return
            if broker.failures >= 2 and is_first_try:
                is_first_try = False
                self.manager.say(f"its files cannot be read; moved to {valkey.put_aside(self.folder)}")
                valkey.configure(self.folder)
            if time.monotonic() - began > valkey.START_SECS:
                raise EmbeddedError("the private broker does not answer; its last lines are above")

    def migrate(self) -> None:
        with self.step("bringing the database up to date"):
            try:
                with contextlib.suppress(Stopped):
                    call_command(Migrate(lambda: self.manager.stopping), interactive=False, verbosity=0)
            except OperationalError as trouble:
                raise EmbeddedError(f"the database cannot be used: {trouble}") from trouble

    def greet(self) -> None:
        if first_start.is_due():
            with self.step("making the first administrator"):
                first_start.greet(self.manager.print)
            return
        self.manager.say(
            "the password and key were shown at the first start; reset them with "
            "`manage.py changepassword admin` and `manage.py create_api_key`"
        )

    def serve(self) -> None:
        services = parts()
        self.manager.say(f"starting {', '.join(part.name for part in services)} ...")
        self.services = [self.manager.add(part) for part in services]
        self.manager.run(self.tell_when_ready)

    def tell_when_ready(self) -> None:
        if not self.is_ready and answers(f"http://{listening_at()}/readyz"):
            self.is_ready = True
            took = time.monotonic() - self.started_at
            self.manager.say(f"ready after {took:.1f} s: {settings.WARDROOM_URL}/admin/")

    # The end

    def end(self) -> None:
        """Stop the services first, so that only this process records the end of children. Stop the broker last."""
        self.manager.say("stopping")
        self.manager.stop(self.services, SERVICES_STOP_SECS)
        if self.services:
            self.end_children()
        if self.broker is not None:
            self.manager.stop([self.broker], BROKER_STOP_SECS)
        self.folder.leave_runtime()
        self.manager.say("stopped")

    def end_children(self) -> None:
        attempts = clean_stop.kept()
        if attempts:
            self.manager.say(f"ending {len(attempts)} children ...")
            clean_stop.end_all(self.manager.watch)
            ended = clean_stop.settle(attempts)
            self.manager.say(f"{ended} of {len(attempts)} children stopped with the server")
        connections.close_all()

    @contextlib.contextmanager
    def step(self, name: str) -> Iterator[None]:
        """Print the step, because it may take more than a second, and its time when it did."""
        self.manager.say(f"{name} ...")
        began = time.monotonic()
        yield
        took = time.monotonic() - began
        if took > 1:
            self.manager.say(f"{name}: {took:.1f} s")


def parts() -> list[Part]:
    """Return the service processes: the same commands as in the Procfile.

    The host of runners takes memory, so it starts only where a package has a runner.
    """
    python = Path(sys.executable).parent
    # Python reads text as UTF-8 for any locale. Variables that the servers read themselves are removed: with
    # WEB_CONCURRENCY uvicorn starts processes that outlive a killed `up`, and keep the port.
    kept = {name: value for name, value in os.environ.items() if not name.startswith(OVERRIDES)}
    environment = {**kept, "PYTHONUTF8": "1", "PYTHONUNBUFFERED": "1", "WARDROOM_DRAIN_SECS": "3"}
    celery = (sys.executable, "-m", "celery", "-q", "-A", "config")
    host = Part("runners", (sys.executable, str(settings.BASE_DIR / "manage.py"), "runners"), environment)
    return [
        Part("web", (sys.executable, "-m", "uvicorn", *web_options()), environment),
        Part(
            "worker",
            (
                *celery,
                "worker",
                "-c",
                str(core_environment.number("WORKER_CONCURRENCY", 2, low=1, high=256)),
                *QUIET_WORKER,
            ),
            {**environment, "REMAP_SIGTERM": "SIGQUIT", "PATH": f"{python}:{os.environ.get('PATH', '')}"},
        ),
        Part("beat", (*celery, "beat", "--pidfile=", "-l", "WARNING"), environment),
        *([host] if registry.plugins() else []),
    ]


OVERRIDES = ("WEB_CONCURRENCY", "UVICORN_", "CELERY_", "FORWARDED_ALLOW_IPS", "PYTHONWARNINGS")
QUIET_WORKER = ("--without-gossip", "--without-mingle", "-l", "WARNING")


def web_options() -> list[str]:
    return [
        "config.asgi:application",
        *("--http", "server.front.connection:FrontConnection"),
        *("--host", os.environ["HOST"], "--port", os.environ["PORT"]),
        *("--lifespan", "on", "--timeout-graceful-shutdown", "3"),
        *("--ws-ping-interval", "20", "--ws-ping-timeout", "20", "--ws-max-size", "2097152"),
        *("--ws-per-message-deflate", "false", "--no-proxy-headers", "--no-server-header"),
        *("--no-access-log", "--log-level", "warning"),
    ]


def listening_at() -> str:
    """Return the address of the web process on this host, independent of `WARDROOM_URL`."""
    return data_folder.url_of(os.environ["HOST"], int(os.environ["PORT"])).removeprefix("http://")


def refuse_taken_port(host: str, port: int) -> None:
    """Raise EmbeddedError when the address cannot be bound. One line now is better than endless restarts."""
    try:
        family, kind, _, _, place = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        with socket.socket(family, kind) as trial:
            trial.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            trial.bind(place)
            trial.listen(1)
    except (OSError, UnicodeError) as trouble:
        why = getattr(trouble, "strerror", None) or trouble
        raise EmbeddedError(f"cannot listen on {host} port {port}: {why}; set another HOST or PORT") from trouble


#: Use no proxy of the environment for our own web process.
DIRECT = urllib.request.build_opener(urllib.request.ProxyHandler({}))


def answers(url: str) -> bool:
    """Return True when a GET answers 200."""
    try:
        with DIRECT.open(url, timeout=2) as answer:
            return bool(answer.status == 200)
    except (OSError, urllib.error.URLError):
        return False
