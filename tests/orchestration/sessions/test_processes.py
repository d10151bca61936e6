"""Supervisors and children as real processes under a whole Wardroom: how they start, end, and are ended."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import RUN
from tests.orchestration.houses import FAST, alive, attempts, over, session, spawn
from tests.servers.stack import House, Service, beat_command, worker_command
from tests.waiting import wait_until

Stack = Callable[..., House]
pytestmark = [pytest.mark.stack, pytest.mark.surface]

QUIET = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); open('up', 'w').close(); time.sleep(300)"


@pytest.fixture(scope="module")
def house(backend: str) -> Iterator[House]:
    """One Wardroom for the tests that break none of its parts."""
    broker = "redis" if backend == "postgres" else "valkey"
    shared = House(RUN, database=backend, broker=broker, timings=FAST)
    try:
        yield shared.open()
    finally:
        shared.close()


def folder(house: House, spawned: dict[str, Any]) -> Path:
    return house.data / "work" / spawned["id"]


def test_an_exit_without_a_word_is_an_error_with_status_and_stderr(house: House) -> None:
    spawned = spawn(house, "sh", "-c", "echo it broke >&2; exit 3")
    ended = over(house, spawned)
    assert (ended["status"], ended["error"]) == ("error", "exited with status 3\nit broke\n")
    (attempt,) = attempts(house, spawned)
    assert (attempt["exit_status"], attempt["exit_signal"], attempt["stderr_tail"]) == (3, None, "it broke\n")
    assert not list((house.data / "supervisors").glob("*.json"))
    killed = spawn(house, "sh", "-c", "kill -9 $$")
    assert over(house, killed)["error"] == "killed by signal 9 (SIGKILL)"


def test_nothing_secret_reaches_a_child_and_its_python_is_ours(house: House) -> None:
    script = "import os, sys; print(sys.executable, sorted(os.environ), os.environ.values(), sys.argv, file=sys.stderr)"
    error = over(house, spawn(house, "python", "-c", script))["error"]
    # Its folder: one interpreter has several names there.
    assert str(Path(sys.executable).parent / "python") in error
    for secret in ("SECRET_KEY", "DATABASE_URL", "REDIS_URL", "BROKER_URL", "wr_child_", house.broker.url()):
        assert secret not in error


def test_a_cancel_kills_a_group_that_ignores_term(house: House) -> None:
    spawned = spawn(house, "python", "-c", QUIET)
    up = folder(house, spawned) / "up"
    wait_until(up.exists)
    (attempt,) = wait_until(lambda: [a for a in attempts(house, spawned) if a["pid"]])
    answer = house.client().post(f"/api/v1/sessions/{spawned['id']}/cancel", json={"reason": "enough"})
    assert answer.json()["cancel_reason"] == "enough"
    ended = over(house, spawned)
    assert (ended["status"], ended["error"]) == ("cancelled", "enough")
    wait_until(lambda: not alive(attempt["pid"]) and not alive(attempt["supervisor_pid"]))
    assert attempts(house, spawned)[0]["exit_signal"] == signal.SIGKILL


def test_a_child_that_never_says_a_word_is_killed_launched_once_more_and_then_given_up(stack: Stack) -> None:
    # It asks so seldom that no answer of ours can be what kills it.
    house = stack(timings={**FAST, "first_frame_secs": 3, "outage_gap_secs": 60, "supervisor_alive_secs": 60})
    script = f"import os; print(os.getpid(), file=open('pids', 'a'))\n{QUIET}"
    spawned = spawn(house, "python", "-c", script)
    pids = folder(house, spawned) / "pids"
    first = wait_until(lambda: pids.read_text().split())[0]
    wait_until(lambda: len(pids.read_text().split()) == 2, why="the relaunch")
    assert not alive(int(first)), "the old group must be dead before the new one starts"
    ended = over(house, spawned)
    assert (ended["status"], ended["attempt"]) == ("error", 2)
    assert ended["error"] == "no first frame from the child in 3 s"
    assert [a["relaunched"] for a in attempts(house, spawned)] == [False, True]


def test_a_lost_hint_is_found_by_the_sweeper(stack: Stack) -> None:
    house = stack(timings=FAST, worker=False, beat=False)
    house.broker.kill()
    spawned = spawn(house, "sh", "-c", "exit 7")
    house.broker.start()
    assert session(house, spawned)["status"] == "queued"
    house.services.update(stack_services(house))
    house.start("worker")
    house.start("beat")
    assert over(house, spawned)["error"] == "exited with status 7"


def stack_services(house: House) -> dict[str, Any]:
    return {"worker": Service(worker_command()), "beat": Service(beat_command(house.folder))}


def test_children_outlive_a_worker_and_leave_no_zombies(stack: Stack) -> None:
    house = stack(timings=FAST)
    spawned = [spawn(house, "sleep", "300") for _ in range(3)]
    wait_until(lambda: all(attempts(house, one)[0]["pid"] for one in spawned))
    pids = [attempts(house, one)[0]["pid"] for one in spawned]
    house.kill("worker")
    house.start("worker")
    assert all(alive(pid) for pid in pids)
    os.kill(pids[0], signal.SIGKILL)
    assert over(house, spawned[0])["error"] == "killed by signal 9 (SIGKILL)"
    wait_until(lambda: all(map(alive, _children_of(house.services["worker"].process.pid))), why="no zombie stays")


def _children_of(top: int) -> list[int]:
    found: list[Any] = []
    waiting = [top]
    while waiting:
        parent = waiting.pop()
        text = Path(f"/proc/{parent}/task/{parent}/children").read_text()
        waiting += map(int, text.split())
        found += map(int, text.split())
    return found


def test_a_supervisor_that_nobody_answers_ends_its_child(stack: Stack) -> None:
    house = stack(timings={**FAST, "supervisor_orphan_secs": 3})
    spawned = spawn(house, "sleep", "300")
    (attempt,) = wait_until(lambda: [a for a in attempts(house, spawned) if a["pid"]])
    house.kill("web1")
    wait_until(lambda: not alive(attempt["pid"]) and not alive(attempt["supervisor_pid"]))


def test_a_spawn_from_a_shell_follows_a_runbook_to_its_end(house: House) -> None:
    shown = house.manage("spawn", "! echo hello\n! exit 4", "--role", "runbook", "--follow", timeout=60)
    assert "session_completed" in shown
    assert "tool_started" in shown and "hello" in shown


@pytest.mark.parametrize("broker", [None, "rabbitmq"])
def test_a_hint_alone_launches_without_any_sweeper(stack: Stack, broker: str | None) -> None:
    house = stack(timings=FAST, broker=broker, beat=False)
    spawned = spawn(house, role="runbook", assignment="! echo hello")
    assert over(house, spawned)["status"] == "completed"
