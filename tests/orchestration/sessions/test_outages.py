"""Outages of Wardroom with real processes: no attempt ends for them, and ends meanwhile are reported."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.orchestration.houses import FAST, alive, approve, asked, event_types, over, process_of, session, spawn
from tests.servers.stack import House, Service, beat_command
from tests.waiting import outage, wait_until

Stack = Callable[..., House]
pytestmark = pytest.mark.stack

GRACE, GAP = 6, 4
SHORT = {**FAST, "connection_grace_secs": GRACE, "outage_gap_secs": GAP, "heartbeat_secs": 1, "heartbeat_lease_secs": 3}
RUNBOOK = {"role": "runbook", "assignment": "echo one\n! echo two"}
SERVICES = ("web1", "worker", "beat")
SILENT = """
import asyncio
from wardroom import Child

async def main():
    async with Child.from_env():
        while True:
            try:
                await asyncio.Event().wait()
            except asyncio.CancelledError:
                pass

asyncio.run(main())
"""


def away(house: House, secs: float) -> None:
    """Everything killed at once, and back after some time."""
    house.kill(*SERVICES)
    outage(secs)
    for name in SERVICES:
        house.start(name)


def test_an_outage_longer_than_every_grace_ends_nobody_that_waits(stack: Stack) -> None:
    house = stack(timings=SHORT)
    spawned = spawn(house, **RUNBOOK)
    approval = asked(house, spawned)
    process = process_of(house, spawned)
    away(house, 2 * GRACE)
    wait_until(lambda: session(house, spawned)["live"], 60, why="the child's return")
    assert alive(process["pid"])
    approve(house, approval)
    ended = over(house, spawned)
    assert (ended["status"], ended["attempt"]) == ("completed", 1), ended["error"]
    assert event_types(house, spawned).count("sub_agent_completed") == 1


def test_a_child_that_died_while_everything_was_down_is_known_when_it_is_up(stack: Stack) -> None:
    house = stack(timings=SHORT)
    spawned = spawn(house, **RUNBOOK)
    asked(house, spawned)
    process = process_of(house, spawned)
    house.kill(*SERVICES)
    os.kill(process["pid"], signal.SIGKILL)
    for name in SERVICES:
        house.start(name)
    ended = over(house, spawned)
    assert ended["error"].startswith("killed by signal 9 (SIGKILL)")


def test_a_child_whose_supervisor_was_killed_with_it_loses_its_connection(stack: Stack) -> None:
    house = stack(timings={**SHORT, "outage_gap_secs": 60})
    spawned = spawn(house, **RUNBOOK)
    asked(house, spawned)
    process = process_of(house, spawned)
    guard = int(Path(f"/proc/{process['supervisor_pid']}/stat").read_text().rpartition(")")[2].split()[1])
    pids = (process["pid"], guard, process["supervisor_pid"])
    # Stopped first: a child that sees its supervisor go would still have the time to say so.
    for sig in (signal.SIGSTOP, signal.SIGKILL):
        for pid in pids:
            os.kill(pid, sig)
    ended = over(house, spawned, 60)
    assert (ended["status"], ended["error"]) == ("error", f"connection lost for {GRACE} s")
    assert not alive(process["pid"])


def test_two_beats_and_two_workers_end_what_is_silent_once(stack: Stack) -> None:
    house = stack(timings=FAST)
    other = house.folder / "other"
    other.mkdir()
    house.services["beat2"] = Service(beat_command(other))
    house.start("beat2", wait=False)
    limits = {"child_watchdog.check_interval_secs": 1, "child_watchdog.max_idle_secs": 3}
    spawned = spawn(house, "python", "-c", SILENT, metadata=limits)
    ended = over(house, spawned)
    assert ended["status"] == "timeout", ended["error"]
    assert ended["error"].startswith("Child session idle timeout after ")
    assert ended["error"].endswith(" seconds without events (max_idle_secs=3)")
    process = process_of(house, spawned)
    wait_until(lambda: not alive(process["pid"]), 30, why="the kill after the grace")
    kinds = event_types(house, spawned)
    assert (kinds.count("session_timeout"), kinds.count("sub_agent_completed")) == (1, 1)
