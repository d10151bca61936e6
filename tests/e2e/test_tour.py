"""The README's tour, on a whole Wardroom, in a real browser: six commands, each answered in another way.

On PostgreSQL it runs twice, over Redis and over RabbitMQ's quorum queues, with two web processes: the child's socket
is on one, the answers are given on the other.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.browser import open_request, press, staff
from tests.servers.stack import House
from tests.waiting import wait_until

EXPIRES_SECS = 40


def brokers(backend: str) -> list[str]:
    return ["valkey"] if backend == "sqlite" else ["redis", "rabbitmq"]


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "broker_kind" in metafunc.fixturenames:
        import os

        metafunc.parametrize("broker_kind", brokers(os.environ["WARDROOM_TEST_BACKEND"]))


def spawn_runbook(client: Any, steps: list[str]) -> str:
    command = [sys.executable, "-m", "wardroom.children.runbook", "--expires-in", str(EXPIRES_SECS)]
    order = {"assignment": "\n".join(steps), "command": command, "title": "The tour"}
    answer = client.post("/api/v1/sessions", json=order, headers={"Idempotency-Key": "tour"})
    assert answer.status_code == 201, answer.text
    return str(answer.json()["id"])


def pending(client: Any, session: str, command: str) -> dict[str, Any] | None:
    found = client.get("/api/v1/approvals", params={"status": "pending", "session": session}).json()["results"]
    return next((one for one in found if command in one["arguments"]["command"]), None)


def steps_of(client: Any, session: str) -> dict[int, dict[str, Any]]:
    events = client.get(f"/api/v1/sessions/{session}/events", params={"limit": 200}).json()["results"]
    return {
        step["step"]: step
        for event in events
        if event["type"] == "runbook_result"
        for step in event["payload"]["steps"]
    }


@pytest.mark.timeout(300)
def test_six_commands_answered_in_six_ways_each_run_as_decided_and_once(
    stack: Callable[..., House], backend: str, broker_kind: Any, tmp_path: Path
) -> None:
    log = tmp_path / "ran"
    words = ("one", "two", "three", "four", "five", "six", "seven")
    house = stack(web=1 if backend == "sqlite" else 2, broker=broker_kind)
    client, other = house.client(), house.client(web=len(house.urls))
    session = spawn_runbook(client, ["# The tour", *(f"echo {word} >> {log}" for word in words)])

    with staff(house.urls[-1], house.admin_name, house.admin_password) as page:
        open_request(page, "echo one")
        press(page, "Approve exactly this")

        open_request(page, "echo two")
        page.fill("#ap-message", "Not this one, please.")
        press(page, "Deny")

        open_request(page, "echo three")
        page.locator("summary", has_text="Edit, then approve").click()
        page.fill("#ap-command", f"echo THREE >> {log}")
        press(page, "Approve what is written here")

        open_request(page, "echo four")
        press(page, "Approve exactly this")

    five = wait_until(lambda: pending(other, session, "echo five"), 20)
    answer = other.post(
        f"/api/v1/approvals/{five['id']}/decide", json={"decision": "approve", "digest": five["digest"]}
    )
    assert answer.status_code == 200, answer.text

    six = wait_until(lambda: pending(client, session, "echo six"), 20)
    steer = {"message_kind": "task", "body": {"text": "skip"}}
    sent = client.post(f"/api/v1/sessions/{session}/messages", json=steer)
    assert (sent.status_code, sent.json()["outcome"]) == (202, "delivered_live"), sent.text
    wait_until(lambda: other.get(f"/api/v1/approvals/{six['id']}").json()["status"] == "expired", EXPIRES_SECS + 20)

    ended = wait_until(lambda: _ended(other, session), 30)
    assert ended["status"] == "completed", ended
    outcomes = {number: step["outcome"] for number, step in steps_of(client, session).items()}
    assert outcomes == {1: "done", 2: "denied", 3: "done", 4: "done", 5: "done", 6: "expired", 7: "skipped"}
    assert log.read_text().split() == ["one", "THREE", "four", "five"]
    assert "Not this one, please." in ended["result"]
    assert "holds" in house.manage("verify_audit")


def _ended(client: Any, session: str) -> dict[str, Any] | None:
    shown: dict[str, Any] = client.get(f"/api/v1/sessions/{session}").json()
    return shown if shown["status"] in ("completed", "error", "timeout", "cancelled") else None
