"""Calls and lookups shared by the tests of whole Wardrooms."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tests.servers.stack import House
from tests.waiting import wait_until

FAST = {
    "supervisor_alive_secs": 0.3,
    "sweep_secs": 1,
    "slow_sweep_secs": 1,
    "kill_grace_secs": 1,
    "cancel_grace_secs": 2,
}


def spawn(house: House, *command: str, **fields: Any) -> dict[str, Any]:
    """A session with a command of its own, or with a role among `fields`."""
    order = {"assignment": "x", **({"command": list(command)} if command else {}), **fields}
    answer = house.client().post("/api/v1/sessions", json=order)
    assert answer.status_code == 201, answer.text
    spawned: dict[str, Any] = answer.json()
    return spawned


def session(house: House, spawned: dict[str, Any]) -> dict[str, Any]:
    shown: dict[str, Any] = house.client().get(f"/api/v1/sessions/{spawned['id']}").json()
    return shown


def attempts(house: House, spawned: dict[str, Any]) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = house.client().get(f"/api/v1/sessions/{spawned['id']}/attempts").json()["results"]
    return rows


def event_types(house: House, spawned: dict[str, Any]) -> list[str]:
    page = house.client().get(f"/api/v1/sessions/{spawned['id']}/events", params={"limit": 500}).json()
    return [event["type"] for event in page["results"]]


def over(house: House, spawned: dict[str, Any], timeout: float = 45) -> dict[str, Any]:
    """The session when it is over."""

    def seen() -> dict[str, Any] | None:
        row = session(house, spawned)
        return row if row["finished_at"] else None

    found = wait_until(seen, timeout, why="the session's end")
    assert found
    return found


def process_of(house: House, spawned: dict[str, Any]) -> dict[str, Any]:
    """The current attempt, once its supervisor has said which process it keeps."""
    found = wait_until(lambda: [row for row in attempts(house, spawned) if row["pid"]], 45, why="a kept process")
    return found[-1]


def asked(house: House, spawned: dict[str, Any]) -> dict[str, Any]:
    """The approval that the session waits for."""
    query = {"status": "pending", "session": spawned["id"]}
    seen = lambda: house.client().get("/api/v1/approvals", params=query).json()["results"]  # noqa: E731
    (approval,) = wait_until(seen, 45, why="a pending approval")
    return dict(approval)


def approve(house: House, approval: dict[str, Any]) -> None:
    answer = {"decision": "approve", "digest": approval["digest"]}
    assert house.client().post(f"/api/v1/approvals/{approval['id']}/decide", json=answer).status_code == 200


def alive(pid: int) -> bool:
    """Return True if the process runs. A zombie does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except OSError:
        return False
