"""The two forms of Wardroom that are attacked: deployed (PostgreSQL, Redis, two web processes) and embedded."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

from tests.servers.embedded import Embedded
from tests.servers.stack import House

MIB = 1024 * 1024


@dataclass(frozen=True)
class Form:
    """A running Wardroom: where it listens, an administrator's key and password, and its web processes."""

    name: str
    urls: list[str]
    key: str
    password: str
    web: Callable[[], list[int]]

    def call(self, method: str, path: str, body: Any = None, *, web: int = 0) -> httpx.Response:
        headers = {"Authorization": f"Bearer {self.key}"}
        return httpx.request(method, f"{self.urls[web]}/api/v1/{path}", json=body, headers=headers, timeout=60)

    def external(self) -> dict[str, Any]:
        """Spawn an external session for a test: `{id, token, url}`."""
        spawned = self.call("POST", "sessions", {"runner": "external", "assignment": "be a child"})
        assert spawned.status_code == 201, spawned.text
        told = spawned.json()
        return {"id": told["id"], "token": told["child"]["token"], "url": told["child"]["websocket_url"]}

    def rest(self) -> dict[int, int]:
        """The bytes that each web process holds now; the peak is counted from here on."""
        return {pid: _status(pid, "VmRSS") for pid in self.web()}

    def peak_over(self, rest: dict[int, int]) -> float:
        """By how many MiB the greediest web process grew beyond its rest, at its peak."""
        return max((_status(pid, "VmHWM") - was) / MIB for pid, was in rest.items())


def forget_peaks(pids: list[int]) -> None:
    """Start counting the peak of each process anew (proc(5), clear_refs 5)."""
    for pid in pids:
        Path(f"/proc/{pid}/clear_refs").write_text("5")


def _status(pid: int, name: str) -> int:
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith(f"{name}:"):
            return int(line.split()[1]) * 1024
    raise ProcessLookupError(pid)


def deployed(stack: Callable[..., House]) -> Form:
    house = stack(database="postgres", broker="redis", web=2)

    def web() -> list[int]:
        processes = [house.services[name].process for name in ("web1", "web2")]
        return [process.pid for process in processes if process is not None]

    return Form("deployed", house.urls, house.key, house.admin_password, web)


@contextmanager
def embedded() -> Iterator[Form]:
    with Embedded() as house:
        house.start()
        yield Form("embedded", [house.url], house.key, house.password, lambda: [house.part("web")])


def as_json(form: Form) -> str:
    """Return the facts for an attacker's process."""
    return json.dumps({"urls": form.urls, "key": form.key, "password": form.password})
