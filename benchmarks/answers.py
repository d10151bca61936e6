"""From the answer to the child: POST .../decide on one web process until the frame arrives over a socket of another.

Beside it: the average wait of a child that asks once a second (half of it), and a bare message over
Redis between two processes, which is the floor that no push over Redis can pass.
"""

from __future__ import annotations

import json
import statistics
import time
import uuid
from collections.abc import Callable
from typing import Any

import redis
from websockets.sync.client import ClientConnection, connect

from benchmarks import stage
from benchmarks.figures import Figure, Table, main
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
    frames, calls, hops = [], [], []
    with stage.house(web=2) as house:
        child, over_redis = Asker(house), hop(house.environment["REDIS_URL"])
        for _ in range(5):
            child.answered()
        for _ in range(rounds):
            pairs = [child.answered() for _ in range(ANSWERS)]
            frames.append(statistics.median(frame for frame, _ in pairs))
            calls.append(statistics.median(call for _, call in pairs))
            hops.append(statistics.median(over_redis() for _ in range(ANSWERS)))
    poll = [500.0] * rounds
    figures = [
        Figure(
            "answer by REST → frame at the child, p50",
            "ms",
            frames,
            "a child that polls once a second",
            poll,
            10.0,
            False,
        ),
        Figure("the same", "ms", frames, "the REST call alone, until it returns", calls, None, False),
        Figure("the same", "ms", frames, "one bare message over Redis", hops, None, False),
    ]
    return Table("answers", "From the answer to the child", figures, __doc__.split("\n\n", 1)[1])


if __name__ == "__main__":
    main(measure)
