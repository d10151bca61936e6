"""A wait on one web process for a decision on another, and the death of either."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import pytest

from tests.ledger.reading import events, stream
from tests.servers.stack import House
from tests.waiting import wait_until

pytestmark = [pytest.mark.stack, pytest.mark.timeout(300)]

BODY = {"tool_name": "shell", "permission": "execute", "resource": "ls", "arguments": {"command": "ls"}}


def ask(client: httpx.Client, request_id: Any) -> Any:
    return client.post("/api/v1/approvals", json=BODY | {"request_id": request_id}).raise_for_status().json()


def approve(client: httpx.Client, approval: Any) -> Any:
    body = {"decision": "approve", "digest": approval["digest"]}
    return client.post(f"/api/v1/approvals/{approval['id']}/decide", json=body).raise_for_status().json()


def waiters(client: httpx.Client, approval: Any) -> Any:
    return client.get(f"/api/v1/approvals/{approval['id']}").json()["waiters"]


@pytest.fixture
def house(stack: Callable[..., House]) -> Any:
    # The poll behind the wake-ups is put out of reach: what comes soon came by a wake-up.
    return stack(web=2, worker=False, beat=False, timings={"hub_poll_secs": 20})


def test_a_wait_hears_of_a_decision_on_another_web_process_and_ends_with_its_own(house: Any) -> None:
    here, there = house.client(web=1), house.client(web=2)
    with ThreadPoolExecutor(1) as pool:

        def waiting(approval: Any) -> Any:
            held = pool.submit(here.get, f"/api/v1/approvals/{approval['id']}/wait", params={"timeout": 25})
            wait_until(lambda: waiters(there, approval) == 1)
            return held

        first = ask(there, "first")
        held = waiting(first)
        started = time.monotonic()
        approve(there, first)
        answer = held.result(15).json()
        assert time.monotonic() - started < 10
        assert (answer["status"], answer["timed_out"]) == ("approved", False)
        assert answer["delivered_at"]
        wait_until(lambda: waiters(there, first) == 0)

        second = ask(there, "second")
        held = waiting(second)
        started = time.monotonic()
        house.stop("web1")
        assert time.monotonic() - started < 15
        assert (held.result(5).json()["status"], held.result().json()["timed_out"]) == ("pending", True)
        approve(there, second)
        house.start("web1")
        again = here.get(f"/api/v1/approvals/{second['id']}/wait").json()
        assert (again["status"], again["timed_out"]) == ("approved", False)


def test_a_decision_survives_the_death_of_the_process_that_waited(house: Any) -> None:
    there = house.client(web=2)
    approval = ask(there, "third")
    with ThreadPoolExecutor(1) as pool:
        held = pool.submit(house.client(web=1).get, f"/api/v1/approvals/{approval['id']}/wait", params={"timeout": 25})
        wait_until(lambda: waiters(there, approval) == 1)
        house.kill("web1")
        assert held.exception(20) is not None
    approve(there, approval)
    answer = there.get(f"/api/v1/approvals/{approval['id']}/wait").json()
    assert (answer["status"], answer["timed_out"]) == ("approved", False)


def hear(client: httpx.Client, after: int, approvals: list[Any], connected: threading.Event) -> list[Any]:
    """Read the feed from a cursor until each approval has ended. Return the cursor of each end, and the end."""
    found: list[Any] = []
    with stream(client, "/api/v1/feed", Last_Event_ID=str(after)) as answer:
        connected.set()
        for frame in events(answer):
            payload = frame.json["payload"]
            if payload.get("status") not in (None, "pending") and payload["approval_id"] in approvals:
                found.append((int(frame.id), payload["approval_id"], payload["status"], payload["reason"]))
            if len(found) == len(approvals):
                break
    return found


def test_readers_of_the_feed_hear_each_end_also_over_the_death_of_their_process(house: Any) -> None:
    there = house.client(web=2)
    start = there.get("/api/v1/snapshot").json()["cursor"]
    early, late, withdrawn = (ask(there, name) for name in ("early", "late", "withdrawn"))
    ids = [each["id"] for each in (early, late, withdrawn)]
    approve(there, early)
    with ThreadPoolExecutor(3) as pool:
        readers = [threading.Event() for _ in range(3)]
        lost = pool.submit(hear, house.client(web=1), start, ids, readers[0])
        both = [pool.submit(hear, house.client(web=2), start, ids, each) for each in readers[1:]]
        assert all(each.wait(20) for each in readers)
        house.kill("web1")
        assert lost.exception(20) is not None
        approve(there, late)
        there.post(f"/api/v1/approvals/{withdrawn['id']}/withdraw", json={"reason": "no need"}).raise_for_status()
        # The reader of the dead process goes on at the other one.
        again = pool.submit(hear, house.client(web=2), start, ids, threading.Event())
        heard = [each.result(20) for each in (*both, again)]
    assert heard[0] == heard[1] == heard[2]
    assert [(id, status) for _, id, status, _ in heard[0]] == list(
        zip(ids, ["approved", "approved", "cancelled"], strict=True)
    )
    assert heard[0][2][3] == "withdrawn"
