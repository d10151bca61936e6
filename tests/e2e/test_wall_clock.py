"""The wall clock of a whole Wardroom is set forward and back: its children run on, and so do the sweeps.

Only where Wardroom's own processes keep the database: the PostgreSQL of the tests serves all of them, and its clock is
nobody's to set. There the same rules are tested with moments that are planted: see
tests/orchestration/sessions/test_clock_steps.py.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import httpx
import pytest

from tests.orchestration.houses import FAST, alive, asked, event_types, over, process_of, session, spawn
from tests.orchestration.sessions.test_outages import SILENT
from tests.servers.process import short_folder
from tests.servers.stack import House
from tests.servers.wall_clock import WallClock
from tests.waiting import wait_until

pytestmark = pytest.mark.stack

HOUR = 3600
SHORT = {**FAST, "retention_sweep_secs": 2, "max_idle_secs": 300, "max_total_secs": 600, "check_interval_secs": 1}


def beat(house: House) -> dict[str, Any]:
    told: dict[str, Any] = httpx.get(f"{house.url}/readyz", timeout=10).json()["parts"]["beat"]
    return told


def steps(house: House) -> int:
    return house.logs("worker").count("every grace and idle clock restarts")


@pytest.mark.usefixtures("only_embedded")
def test_a_clock_that_is_set_forward_and_back_ends_no_child_and_stops_no_sweep(stack: Callable[..., House]) -> None:
    clock = WallClock(short_folder() / "clock")
    house = stack(timings=SHORT, env=clock.environment)
    silent = spawn(house, "python", "-c", SILENT)
    gated = spawn(house, role="runbook", assignment="echo one")
    asked(house, gated)
    processes = [process_of(house, child)["pid"] for child in (silent, gated)]
    for step in (2 * HOUR, 2 * HOUR - 120, -HOUR):
        # Sweeps and heartbeats each notice a step, and each process has the new time within a second.
        before = steps(house)
        clock.set(step)
        wait_until(lambda before=before: steps(house) >= before + 2, 60, why="both notice the step")
        # Something new runs by the new time: beat, broker, worker and the launch of a process all go on.
        ended = over(house, spawn(house, role="runbook", assignment="! echo two"))
        assert ended["status"] == "completed", ended["error"]
        wait_until(lambda: beat(house)["ok"], 60, why="every sweep has run by the new time")
        assert [session(house, child)["status"] for child in (silent, gated)] == ["running", "running"]
    assert all(map(alive, processes))
    assert "session_timeout" not in event_types(house, silent)
