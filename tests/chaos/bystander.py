"""A second caller continues its work during an attack: the times and the status of its calls."""

from __future__ import annotations

import contextlib
import json
import threading
import time
from types import TracebackType
from typing import Any

import httpx
from websockets.exceptions import WebSocketException
from websockets.sync.client import ClientConnection, connect
from websockets.typing import Subprotocol

from tests.chaos.forms import Form
from tests.waiting import breathe


class Child:
    """A child that sends a large event now and then, on one web process."""

    def __init__(self, form: Form, web: int) -> None:
        session = form.external()
        address = form.urls[web].replace("http", "ws", 1) + f"/ws/children/{session['id']}"
        headers = {"Authorization": f"Bearer {session['token']}"}
        options: dict[str, Any] = {"proxy": None, "compression": None, "max_size": None}
        self._open = contextlib.ExitStack()
        opening = connect(address, additional_headers=headers, subprotocols=[Subprotocol("wardroom.v1")], **options)
        self._socket: ClientConnection = self._open.enter_context(opening)
        self._socket.send(json.dumps({"kind": "hello", "attempt": 1}))
        self._socket.send(json.dumps({"kind": "run_ack"}))
        self._seq = 0

    def send(self) -> None:
        """One event of 70 KB, until it is acknowledged. Raises for a connection that ended, or no word for 60 s."""
        self._seq += 1
        event = {"type": "note", "text": "x" * 70_000}
        self._socket.send(json.dumps({"kind": "event", "seq": self._seq, "event": event}))
        while json.loads(self._socket.recv(timeout=60)).get("seq") != self._seq:
            pass

    def close(self) -> None:
        self._open.close()


class Bystander:
    """Spawns, looks, asks, decides, delivers and drains, again and again, on every web process in turn.

    A child on each of them sends its events too.
    """

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
        """Return the answers that a correct caller must not get."""
        return [(call, status) for call, status in self.answers if status >= 500 or status in (0, 429)]

    def _work(self) -> None:
        turn = 0
        headers = {"Authorization": f"Bearer {self.form.key}"}
        clients = [httpx.Client(base_url=f"{url}/api/v1/", headers=headers, timeout=60) for url in self.form.urls]
        children = [Child(self.form, web) for web in range(len(clients))]
        while not self._stop.is_set():
            turn += 1
            self._round(clients[turn % len(clients)], f"bystander-{turn}")
            self._event(children[turn % len(clients)])
        for client in clients:
            client.close()
        for child in children:
            child.close()

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

    def _event(self, child: Child) -> None:
        began = time.monotonic()
        try:
            child.send()
            status = 200
        except (TimeoutError, WebSocketException):
            status = 0
        self.took.append(time.monotonic() - began)
        self.answers.append(("event of 70 KB", status))

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
