"""From the answer to the child: POST .../decide on one web process until the frame arrives over a socket of another.

Beside it: a DRF view with token authentication that saves a row and calls `channel_layer.send` (Channels and
channels_redis, two processes of uvicorn, as ours), DBOS from `send` in one process to the return of `recv` in a waiting
workflow of another (two processes of Python, no HTTP, no authentication), the average wait of a child that asks once a
second (half of it), and a bare message over Redis between two processes, which is the floor that no push over Redis can
pass. An answer of ours is the guarded UPDATE with its event, audit row and wake-up; fsync is on for all of them.
"""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
import time
import uuid
from collections.abc import Callable
from contextlib import ExitStack
from typing import Any
from urllib.parse import unquote, urlencode, urlsplit

import httpx
import redis
from websockets.sync.client import ClientConnection, connect

from benchmarks import stage
from benchmarks._calls import ROOT
from benchmarks.approvals import plant
from benchmarks.figures import Figure, Table, main
from benchmarks.rest import served, token_of_peer
from tests.servers.stack import House

ANSWERS = 40


class Asker:
    """A child that asks, over a raw socket."""

    def __init__(self, house: House) -> None:
        self.client = house.client(web=2)
        order = {"assignment": "bench", "runner": "external"}
        spawned = house.client().post("/api/v1/sessions", json=order).json()
        token = spawned["child"]["token"]
        url = house.socket_url(f"/ws/children/{spawned['id']}")
        self.socket: ClientConnection = connect(
            url, additional_headers={"Authorization": f"Bearer {token}"}, subprotocols=["wardroom.v1"], proxy=None
        )
        self.say({"kind": "hello", "attempt": 1})
        self.hear("run")
        self.say({"kind": "run_ack"})

    def say(self, frame: dict[str, Any]) -> None:
        self.socket.send(json.dumps(frame))

    def hear(self, kind: str) -> dict[str, Any]:
        while True:
            frame: dict[str, Any] = json.loads(self.socket.recv(timeout=30))
            if frame["kind"] == kind:
                return frame

    def answered(self) -> tuple[float, float]:
        """Ask, answer by REST on the other process; milliseconds until the frame, and until the call returned."""
        body = {"tool_name": "shell", "permission": "shell", "resource": "/", "arguments": {"command": "date"}}
        request = str(uuid.uuid4())
        self.say({"kind": "approval_request", "id": request, "body": body})
        asked = self.hear("approval_registered")
        path = f"/api/v1/approvals/{asked['approval_id']}/decide"
        began = time.perf_counter()
        answer = self.client.post(path, json={"decision": "approve", "digest": asked["digest"]})
        returned = time.perf_counter()
        self.hear("approval_reply")
        arrived = time.perf_counter()
        answer.raise_for_status()
        self.say({"kind": "approval_ack", "id": request, "state": "received"})
        return (arrived - began) * 1000, (returned - began) * 1000


class Channels:
    """The same two processes of the peer: a decision by REST on one, a consumer on the other."""

    def __init__(self, house: House, token: str, ports: tuple[int, int]) -> None:
        self.client = httpx.Client(
            base_url=f"http://127.0.0.1:{ports[0]}", headers={"Authorization": f"Token {token}"}, timeout=30
        )
        self.socket = connect(f"ws://127.0.0.1:{ports[1]}/child", proxy=None)
        self.channel = json.loads(self.socket.recv(timeout=30))["channel"]
        [(self.approval, _)] = plant(house, 1)

    def answered(self) -> float:
        """Answer; milliseconds until the frame."""
        began = time.perf_counter()
        body = {"decision": "approve", "channel": self.channel}
        answer = self.client.post(f"/approvals/{self.approval}/decide", json=body)
        self.socket.recv(timeout=30)
        arrived = time.perf_counter()
        answer.raise_for_status()
        return (arrived - began) * 1000


def workflow(house: House) -> float:
    """The median of `ANSWERS` messages by DBOS, in a database of its own on the same server; milliseconds."""
    server = urlsplit(house.environment["DATABASE_URL"])
    # SQLAlchemy takes the folder of a socket as a parameter only.
    where = urlencode({"host": unquote(server.hostname or ""), "port": server.port})
    url = f"postgresql+psycopg://{server.username}@/dbos_{uuid.uuid4().hex}?{where}"
    command = [sys.executable, "-m", "benchmarks.peers.durable", url, str(ANSWERS)]
    done = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True, timeout=180)
    return statistics.median(json.loads(done.stdout.splitlines()[-1]))


def hop(url: str) -> Callable[[], float]:
    """A message over Redis pub/sub from one connection to another; milliseconds."""
    sender, listener = redis.Redis.from_url(url), redis.Redis.from_url(url).pubsub()
    listener.subscribe("bench")
    listener.get_message(timeout=5)

    def once() -> float:
        began = time.perf_counter()
        sender.publish("bench", "x")
        while listener.get_message(timeout=5) is None:
            pass
        return (time.perf_counter() - began) * 1000

    return once


def measure(rounds: int) -> Table:
    """Medians of `ANSWERS` answers a round."""
    frames, calls, hops, layers, durable = [], [], [], [], []
    with stage.house(web=2) as house, ExitStack() as stack:
        child, over_redis, token = Asker(house), hop(house.environment["REDIS_URL"]), token_of_peer(house)
        command = ["uvicorn", "benchmarks.peers.layer:application", "--log-level", "error", "--no-access-log", "--port"]
        path = f"/approvals/{uuid.uuid4()}/decide"
        ports = [stack.enter_context(served(house, command, path, join="{}")) for _ in range(2)]
        peer = Channels(house, token, (ports[0], ports[1]))
        for _ in range(5):
            child.answered()
            peer.answered()
        for _ in range(rounds):
            pairs = [child.answered() for _ in range(ANSWERS)]
            frames.append(statistics.median(frame for frame, _ in pairs))
            calls.append(statistics.median(call for _, call in pairs))
            layers.append(statistics.median(peer.answered() for _ in range(ANSWERS)))
            hops.append(statistics.median(over_redis() for _ in range(ANSWERS)))
            durable.append(workflow(house))
    poll = [500.0] * rounds
    name = "answer by REST → frame at the child, p50"
    figures = [
        Figure(name, "ms", frames, "a DRF view that saves and calls `channel_layer.send`", layers, 3.0, False),
        Figure("the same", "ms", frames, "DBOS: `send` → `recv`", durable, 5.0, False),
        Figure("the same", "ms", frames, "a child that polls once a second", poll, 10.0, False),
        Figure("the same", "ms", frames, "the REST call alone, until it returns", calls, None, False),
        Figure("the same", "ms", frames, "one bare message over Redis", hops, None, False),
    ]
    return Table("answers", "From the answer to the child", figures, __doc__.split("\n\n", 1)[1])


if __name__ == "__main__":
    main(measure)
