"""Children that die, say nothing, never stop or talk nonsense: each ends in a state with a reason that people read."""

import json
import os
import re
import signal
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.runs import Run
from tests.servers import processes
from tests.waiting import wait_until

pytestmark = [pytest.mark.stack, pytest.mark.surface, pytest.mark.timeout(240)]

PROGRAM = Path(__file__).with_name("bad_child.py")
QUICK = {
    "sweep_secs": 1,
    "supervisor_alive_secs": 1,
    "first_frame_secs": 8,
    "hello_secs": 1,
    "cancel_grace_secs": 2,
    "kill_grace_secs": 1,
}
LIMITS = {
    "silent": {"child_watchdog.max_idle_secs": "5", "child_watchdog.check_interval_secs": "1"},
    "talker": {"child_watchdog.max_total_secs": 8, "child_watchdog.check_interval_secs": 1},
}
KINDS = ("mute", "wordless", "silent", "talker", "deaf", "garbage", "crash")


@pytest.fixture(scope="module")
def house(houses: Any) -> Any:
    return houses(timings=QUICK).start(90)


@pytest.fixture(scope="module")
def bad(house: Any) -> dict[str, Any]:
    """One of each, all at once."""
    return {kind: bad_child(house, kind) for kind in KINDS}


def bad_child(house: Any, kind: Any) -> Run:
    command = [sys.executable, "-W", "ignore", str(PROGRAM), kind]
    return Run(house, command=command, title=kind, assignment="misbehave", metadata=LIMITS.get(kind, {}))


def attempts(run: Any) -> Any:
    told = run.ask("GET", f"sessions/{run.id}/attempts")
    return told["results"] if isinstance(told, dict) else told


def assert_nothing_is_left(house: Any, run: Any, number: int = 1) -> None:
    wait_until(lambda: not processes_of(house, run), 30, why="its processes are gone")
    ends = [event for event in run.events() if event["type"] == "sub_agent_completed"]
    assert len(ends) == 1


def processes_of(house: Any, run: Any) -> Any:
    """The child's own process and whatever it started: it knows its session by an environment variable."""
    return processes.mentioning(f"WARDROOM_SESSION={run.id}")


def test_one_that_dies_is_an_error_with_its_signal_and_last_words(house: Any, bad: Any) -> None:
    session = bad["crash"].status("error", timeout=90)
    assert session["error"] == "killed by signal 9 (SIGKILL)\nthe last words\n"
    assert attempts(bad["crash"])[0]["stderr_tail"] == "the last words\n"
    assert_nothing_is_left(house, bad["crash"])


def test_one_that_sends_garbage_is_hung_up_on(house: Any, bad: Any) -> None:
    session = bad["garbage"].status("error", timeout=90)
    assert session["error"] == "exited with status 3\nclosed with 4400\n"
    assert_nothing_is_left(house, bad["garbage"])


def test_one_that_is_silent_times_out_by_its_idle_limit(house: Any, bad: Any) -> None:
    session = bad["silent"].status("timeout", timeout=90)
    assert re.fullmatch(
        r"Child session idle timeout after \d+ seconds without events \(max_idle_secs=5\)", session["error"]
    )
    assert_nothing_is_left(house, bad["silent"])


def test_one_that_talks_for_ever_times_out_by_its_total_limit(house: Any, bad: Any) -> None:
    session = bad["talker"].status("timeout", timeout=90)
    assert re.fullmatch(r"Child session timed out after \d+ seconds \(max_total_secs=8\)", session["error"])
    assert_nothing_is_left(house, bad["talker"])


@pytest.mark.parametrize("kind", ["mute", "wordless"])
def test_one_that_never_says_hello_is_started_once_more_and_then_given_up(house: Any, bad: Any, kind: str) -> None:
    session = bad[kind].status("error", timeout=90)
    assert session["error"] == "no first frame from the child in 8 s"
    assert session["attempt"] == 2
    assert [attempt["status"] for attempt in attempts(bad[kind])] == ["error", "error"]
    assert_nothing_is_left(house, bad[kind])


def test_one_that_ignores_cancel_is_killed_with_all_it_started(house: Any, bad: Any) -> None:
    run = bad["deaf"]
    run.status("running", timeout=60)
    wait_until(lambda: len(processes_of(house, run)) >= 2, 30)
    run.ask("POST", f"sessions/{run.id}/cancel", {"reason": "enough of it"})
    session = run.status("cancelled", timeout=60)
    assert session["error"] == "enough of it"
    assert_nothing_is_left(house, run)


def test_one_whose_supervisor_is_killed_ends_with_it(house: Any) -> None:
    run = bad_child(house, "deaf")
    run.status("running", timeout=60)
    (file,) = house.folder.glob(f"supervisors/{run.id}-1.json")
    os.kill(json.loads(file.read_text())["pid"], signal.SIGKILL)
    session = run.status("error", timeout=60)
    assert session["error"] == "killed by signal 9 (SIGKILL)\nits supervisor was killed"
    assert_nothing_is_left(house, run)
