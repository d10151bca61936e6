"""One real Wardroom, with a client of its REST and sessions whose child is the test."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.conftest import RUN
from tests.e2e.conformance.conftest import ROLES, TIMINGS, Spawn, spawner
from tests.servers.stack import House
from wardroom.client import Client


@pytest.fixture(scope="package")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    script = tmp_path_factory.mktemp("broken") / "child"
    script.write_text("#!/nowhere/to/be/found\n")
    script.chmod(0o755)
    broker = "redis" if RUN.backend == "postgres" else "valkey"
    timings = {
        **TIMINGS,
        "roles": {**ROLES, "broken": {"command": [str(script)]}, "idle": {"command": ["true"]}},
        "sweep_secs": 1,
        "slow_sweep_secs": 1,
    }
    it = House(RUN, database=RUN.backend, broker=broker, timings=timings)
    try:
        yield it.open()
    finally:
        it.close()


@pytest.fixture
def client(house: House) -> Client:
    return Client(house.url, house.key)


@pytest.fixture
def spawn(house: House) -> Spawn:
    return spawner(house)
