"""A whole embedded Wardroom of real processes, by `manage.py up`, for the tests to use and to kill."""

import contextlib
import json
import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Self

import httpx

from tests.servers import Redis, free_port, processes
from tests.servers.process import LAST_SIGNAL, dies_with_parent, end_group, short_folder
from tests.waiting import wait_until

ROOT = Path(__file__).resolve().parents[2]
CARD = re.compile(r"^admin: (.+)\nuser: (.+)\npassword: (.+)\napi key: (.+)$", re.MULTILINE)
# What a part's command line has and no other's.
MARKS = {"web": "uvicorn", "worker": "worker", "beat": "beat", "valkey": "valkey-server", "redis": "redis-server"}
CLEAN = ("PATH", "HOME", "LANG", "TMPDIR", "VIRTUAL_ENV")


class Embedded:
    """One data folder and the `up` that runs on it; `up` may come and go.

    With `migrated`, a database file, a first start copies that instead of running every migration.
    """

    def __init__(
        self,
        folder: Path | None = None,
        *,
        timings: Mapping[str, float] | None = None,
        broker: Redis | None = None,
        migrated: Path | None = None,
        **environment: str,
    ) -> None:
        self.home = short_folder()
        self.folder = folder or self.home / "var"
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.log = self.home / "log.txt"
        self.process: subprocess.Popen[bytes] | None = None
        self.broker = broker
        self.migrated = migrated
        self.environment = {name: os.environ[name] for name in CLEAN if name in os.environ} | {
            "WARDROOM_DATA": str(self.folder),
            "PORT": str(self.port),
            "WARDROOM_DEMO": "0",
            "WARDROOM_TIMINGS": json.dumps(dict(timings or {})),
            **environment,
        }
        self.key = self.password = ""

    # Its life

    def start(self, timeout: float = 90.0) -> Self:
        """Start `up`, and return when /readyz says 200. The printed key and password are kept."""
        self.begin()
        return self.await_ready(timeout)

    def await_ready(self, timeout: float = 90.0) -> Self:
        """Return when an `up` that has begun says 200 at /readyz."""
        wait_until(self.is_ready, timeout, why=f"{self.url}/readyz says 200 (log: {self.log})")
        card = CARD.search(self.said())
        if card:
            _, _, self.password, self.key = card.groups()
        return self

    def begin(self) -> None:
        if self.broker is not None:
            self.broker.start()
        if self.migrated is not None and not self.folder.exists():
            self.folder.mkdir(mode=0o700, parents=True)
            shutil.copyfile(self.migrated, self.folder / "wardroom.sqlite3")
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                [*dies_with_parent(), sys.executable, "manage.py", "up"],
                cwd=ROOT,
                env=self.environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

    def parts(self) -> dict[str, Any]:
        """Return each part of /readyz."""
        told: dict[str, Any] = httpx.get(f"{self.url}/readyz", timeout=5).json()["parts"]
        return told

    def is_ready(self) -> bool:
        if self.process is None or self.process.poll() is not None:
            raise RuntimeError(f"up has ended: {self.said()[-2000:]}")
        return httpx.get(f"{self.url}/readyz", timeout=5).status_code == 200

    def stop(self, sig: signal.Signals = signal.SIGTERM, timeout: float = 12.0) -> int:
        """A clean stop; gives the exit status."""
        assert self.process is not None
        self.process.send_signal(sig)
        return self.process.wait(timeout)

    def close(self) -> None:
        """End everything of ours, supervisors and children too, and remove the folders."""
        if self.process is not None and self.process.poll() is None:
            end_group(self.process, LAST_SIGNAL)
        for pid in [*self.apart(), *processes.mentioning(str(self.folder))]:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        shutil.rmtree(self.home, ignore_errors=True)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    # Its processes

    def apart(self) -> list[int]:
        """Return the processes that outlive it: for each child the guard, the supervisor, and the child."""
        found: list[int] = []
        for file in self.folder.glob("supervisors/*.json"):
            with contextlib.suppress(OSError, ValueError):
                state = json.loads(file.read_text())
                supervisor = state["pid"]
                found += [processes.parent(supervisor), supervisor, *processes.descendants(supervisor)]
        return [pid for pid in found if pid > 1 and processes.alive(pid)]

    @property
    def pid(self) -> int:
        assert self.process is not None
        return self.process.pid

    def all_parts(self) -> list[int]:
        """Every service process, once the worker has its pool."""
        return wait_until(lambda: found if len(found := processes.descendants(self.pid)) >= 6 else None)

    def part(self, name: str) -> int:
        """The process of a part; 0 while it has none."""
        for pid in processes.children(self.pid):
            if any(Path(word.split(" ")[0]).name == MARKS[name] for word in processes.argv(pid)):
                return pid
        return 0

    def kill(self, name: str, sig: signal.Signals = signal.SIGKILL) -> int:
        """Send a signal to a part's process; gives its pid."""
        pid = wait_until(lambda: self.part(name), why=f"there is a process of {name}")
        os.kill(pid, sig)
        return pid

    def kill_broker(self) -> None:
        """kill -9 of the Valkey that `up` started, or of the Redis that the environment names."""
        if self.broker is None:
            self.kill("valkey")
        else:
            self.broker.kill()

    def kill_everything(self) -> None:
        """All at once: each service, the broker, and the supervisor."""
        for name in ("web", "worker", "beat"):
            self.kill(name)
        self.kill_broker()
        self.kill_supervisor()

    def kill_supervisor(self) -> None:
        assert self.process is not None
        self.process.kill()
        self.process.wait(10)

    # What it says, and talking to it

    def said(self) -> str:
        return self.log.read_text(errors="replace") if self.log.exists() else ""

    def manage(self, *words: str, timeout: float = 60, **environment: str) -> subprocess.CompletedProcess[str]:
        """Run another management command beside it, as a person would."""
        given = {k: v for k, v in self.environment.items() if k not in ("PORT", "WARDROOM_DEMO")}
        return subprocess.run(
            [sys.executable, "manage.py", *words],
            cwd=ROOT,
            env=given | environment,
            capture_output=True,
            text=True,
            timeout=timeout,
        )

    def call(self, method: str, path: str, body: Any = None, *, key: str = "") -> httpx.Response:
        """A REST call under /api/v1, with the first key."""
        return httpx.request(
            method,
            f"{self.url}/api/v1/{path}",
            json=body,
            headers={"Authorization": f"Bearer {key or self.key}"},
            timeout=30,
        )
