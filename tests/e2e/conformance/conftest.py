"""One real Wardroom for all scripts, and sessions with the test itself as their child."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import pytest

from tests.conftest import RUN
from tests.servers.stack import House
from tests.waiting import wait_until
from wardroom.client import Client
from wardroom.identity import Identity

#: Roles that run the bundled runbook without being called `runbook`, each with another spelling of its command.
SPELLINGS = {
    "careful": ["python", "-m", "wardroom.children.runbook"],
    "wrapped": ["env", "sh", "-c", "exec python -m wardroom.children.runbook"],
    "copied": [
        "sh",
        "-c",
        "cp $(python -c 'import wardroom.children.runbook as r; print(r.__file__)') own.py && exec python own.py",
    ],
}
ROLES = {name: {"command": command} for name, command in {"runbook": SPELLINGS["careful"], **SPELLINGS}.items()}
TIMINGS = {"hello_secs": 2, "connection_poll_secs": 1, "cancel_grace_secs": 3, "stream_beat_secs": 1, "roles": ROLES}


@dataclass(frozen=True)
class Session:
    """An external session. The holder of the token is its child."""

    client: Client
    id: str
    token: str
    url: str
    attempt: int = 1

    @property
    def identity(self) -> Identity:
        return Identity(self.client.url, self.id, self.attempt, self.token)

    def now(self) -> dict[str, Any]:
        return self.client.session(self.id)

    def pending(self) -> dict[str, Any]:
        """The one approval that waits, once it does."""
        return wait_until(lambda: list(self.client.approvals(session=self.id, status="pending")))[0]

    def decide(self, decision: str, **fields: Any) -> dict[str, Any]:
        return self.client.decide(self.pending(), decision, **fields)

    def events(self) -> list[dict[str, Any]]:
        page = self.client.get(f"sessions/{self.id}/events", {"limit": 500})
        results: list[dict[str, Any]] = page["results"]
        return results


Spawn = Callable[..., Session]


@pytest.fixture(scope="package")
def house() -> Iterator[House]:
    broker = "redis" if RUN.backend == "postgres" else "valkey"
    it = House(RUN, database=RUN.backend, broker=broker, timings=TIMINGS)
    try:
        yield it.open()
    finally:
        it.close()


def spawner(house: House) -> Spawn:
    def spawn(assignment: str = "do it", **fields: Any) -> Session:
        client = Client(house.url, house.key)
        made = client.spawn(assignment, runner="external", **fields)
        child = made["child"]
        return Session(client, made["id"], child["token"], child["websocket_url"], made["attempt"])

    return spawn


@pytest.fixture
def spawn(house: House) -> Spawn:
    return spawner(house)
