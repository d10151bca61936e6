"""Somebody else goes on working while one caller attacks: how long their calls take, and what they are answered."""

from __future__ import annotations

import threading
import time
from types import TracebackType
from typing import Any

import httpx

from tests.chaos.forms import Form
from tests.waiting import breathe


class Bystander:
    """Spawns, looks, asks, decides, delivers and drains, again and again, on every web process in turn."""

    def __init__(self, form: Form) -> None:
        self.form = form
        self.took: list[float] = []
        self.answers: list[tuple[str, int]] = []
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._work, daemon=True)

    def __enter__(self) -> Bystander:
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._stop.set()
        self._thread.join(120)

    @property
    def p95(self) -> float:
        """Seconds."""
        ordered = sorted(self.took)
        return ordered[int(len(ordered) * 0.95)] if ordered else float("inf")

    @property
    def bad(self) -> list[tuple[str, int]]:
        """Answers that nobody should get who does nothing wrong."""
        return [(call, status) for call, status in self.answers if status >= 500 or status in (0, 429)]

    def _work(self) -> None:
        turn = 0
        headers = {"Authorization": f"Bearer {self.form.key}"}
        clients = [httpx.Client(base_url=f"{url}/api/v1/", headers=headers, timeout=60) for url in self.form.urls]
        while not self._stop.is_set():
            turn += 1
            self._round(clients[turn % len(clients)], f"bystander-{turn}")
        for client in clients:
            client.close()

    def _round(self, client: httpx.Client, name: str) -> None:
        self._call(client, "POST", "sessions", {"runner": "external", "assignment": name})
        asked = self._call(client, "POST", "approvals", {
            "request_id": name, "tool_name": "shell", "permission": "run", "resource": "x", "arguments": {"a": 1},
        })  # fmt: skip
        if asked is not None and asked.status_code in (200, 201, 202):
            told = asked.json()
            self._call(
                client, "POST", f"approvals/{told['id']}/decide", {"decision": "approve", "digest": told["digest"]}
            )
        self._call(client, "POST", f"mailboxes/{name}/messages", {"message_kind": "task", "body": {"n": 1}})
        self._call(client, "POST", f"mailboxes/{name}/drain", {"limit": 10})
        self._call(client, "GET", "sessions?limit=5")

    def _call(self, client: httpx.Client, method: str, path: str, body: Any = None) -> httpx.Response | None:
        began = time.monotonic()
        try:
            answer = client.request(method, path, json=body)
        except httpx.HTTPError:
            answer = None
        self.took.append(time.monotonic() - began)
        self.answers.append((f"{method} {path}", answer.status_code if answer is not None else 0))
        breathe()
        return answer
