"""Connections with real processes: web processes that stop or are killed, a Redis that is away."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import pytest
from websockets.sync.client import connect

from tests.orchestration.connections.conftest import Peer
from tests.orchestration.connections.test_approvals import BODY
from tests.servers.stack import House
from tests.waiting import wait_until

pytestmark = [pytest.mark.stack, pytest.mark.timeout(240)]


class Child:
    """An external child of a house, by REST and by sockets to any of its web processes."""

    def __init__(self, house: House, sockets: ExitStack) -> None:
        self.house = house
        self._sockets = sockets
        spawned = house.client().post("/api/v1/sessions", json={"assignment": "wait", "runner": "external"})
        assert spawned.status_code == 201, spawned.text
        self.id = spawned.json()["id"]
        self.token = spawned.json()["child"]["token"]

    def join(self, web: int = 1, *, run: bool = True) -> Peer:
        url = self.house.socket_url(f"/ws/children/{self.id}", web)
        headers = {"Authorization": f"Bearer {self.token}"}
        dialect: Any = ["wardroom.v1"]
        peer = Peer(connect(url, additional_headers=headers, subprotocols=dialect, open_timeout=10, close_timeout=2))
        self._sockets.enter_context(peer)
        peer.say("hello", attempt=1)
        peer.hear("welcome")
        if run:
            peer.hear("run")
            peer.say("run_ack")
        return peer

    def seen(self, web: int = 1) -> dict[str, Any]:
        found: dict[str, Any] = self.house.client(web).get(f"/api/v1/sessions/{self.id}").json()
        return found

    def decide(self, web: int, decision: str = "approve") -> None:
        """Answer the one pending approval."""
        client = self.house.client(web)
        (approval,) = client.get("/api/v1/approvals", params={"status": "pending", "session": self.id}).json()[
            "results"
        ]
        body = {"decision": decision, "digest": approval["digest"], "version": approval["version"]}
        answer = client.post(f"/api/v1/approvals/{approval['id']}/decide", json=body)
        assert answer.status_code == 200, answer.text


@pytest.fixture
def sockets() -> Iterator[ExitStack]:
    with ExitStack() as stack:
        yield stack


def test_a_web_process_that_stops_says_1012_and_its_connections_are_lost_at_once(
    stack: Callable[..., House], sockets: ExitStack
) -> None:
    house = stack(web=2, worker=False, beat=False)
    child = Child(house, sockets)
    peer = child.join(web=1)
    wait_until(lambda: child.seen(web=2)["live"])
    began = time.monotonic()
    house.stop("web1")
    assert peer.code() == 1012
    assert time.monotonic() - began < 10
    seen = child.seen(web=2)
    assert (seen["status"], seen["live"], seen["lost"]) == ("running", False, True)
    child.join(web=2, run=False)
    wait_until(lambda: child.seen(web=2)["live"])


def test_a_decision_on_another_web_process_reaches_the_child_at_once(
    stack: Callable[..., House], sockets: ExitStack
) -> None:
    # The poll behind the wake-ups is put out of reach: what comes soon came by a wake-up.
    house = stack(web=2, worker=False, beat=False, timings={"connection_poll_secs": 60})
    child = Child(house, sockets)
    peer = child.join(web=1)
    peer.say("approval_request", id="one", body=BODY)
    peer.hear("approval_registered")
    child.decide(web=2)
    assert peer.hear("approval_reply")["approved"] is True


def test_the_answer_waits_for_a_child_whose_web_process_was_killed(
    stack: Callable[..., House], sockets: ExitStack
) -> None:
    house = stack(web=2, worker=False, beat=False, timings={"heartbeat_secs": 0.5, "heartbeat_lease_secs": 3})
    child = Child(house, sockets)
    peer = child.join(web=1)
    peer.say("approval_request", id="one", body=BODY)
    peer.hear("approval_registered")
    house.kill("web1")
    assert peer.code() == 1006
    wait_until(lambda: not child.seen(web=2)["live"], 15, why="the lease of a killed process runs out")
    child.decide(web=2, decision="deny")
    again = child.join(web=2, run=False)
    assert again.hear("approval_reply")["decision"] == "denied"
    again.say("approval_ack", id="one", state="received")
    again.say("terminal", status="completed")
    again.hear_until("terminal_ack")
    assert child.seen(web=2)["status"] == "completed"


def test_without_redis_the_poll_finds_the_cancel_and_the_dead_token(
    stack: Callable[..., House], sockets: ExitStack
) -> None:
    house = stack(web=2, worker=False, beat=False, timings={"connection_poll_secs": 1})
    child, other = Child(house, sockets), Child(house, sockets)
    peer, revoked = child.join(web=1), other.join(web=1)
    house.broker.kill()
    assert house.client(2).post(f"/api/v1/sessions/{child.id}/cancel", json={"reason": "stop"}).status_code == 200
    assert peer.hear("cancel")["reason"] == "stop"
    assert house.client(2).post(f"/api/v1/sessions/{other.id}/token", json={}).status_code in (200, 201)
    assert revoked.code() == 4401
