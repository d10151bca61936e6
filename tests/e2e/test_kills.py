"""A runbook child waits for a person while things are killed. The run ends as if nothing had happened."""

import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.runs import Ledger, runbook
from tests.e2e.wire import Wire
from tests.servers import processes
from tests.waiting import outage, wait_until

pytestmark = [pytest.mark.stack, pytest.mark.timeout(240)]

# Seconds for what is minutes in life. The child comes back after a pause of its own, up to fifteen seconds.
QUICK = {"sweep_secs": 1, "slow_sweep_secs": 2, "supervisor_alive_secs": 2, "connection_grace_secs": 30}


@pytest.fixture(scope="module")
def house(houses: Any) -> Any:
    return houses(timings=QUICK).start()


@pytest.fixture
def own_house(houses: Any) -> Iterator[Any]:
    made = houses(timings=QUICK).start()
    yield made
    made.close()


@pytest.fixture
def ledger(tmp_path: Path) -> Ledger:
    return Ledger(tmp_path / "ran")


def three_steps(house: Any, ledger: Any) -> Any:
    """Return a run after its first step. The second step waits for a person."""
    run = runbook(house, "!" + ledger.step("one"), ledger.step("two"), ledger.step("three"))
    return run, run.pending()


def next_question(run: Any, asked: Any) -> Any:
    return wait_until(lambda: (found := run.pending())["id"] != asked["id"] and found, 60)


def assert_it_ends_well(run: Any, asked: Any, ledger: Any) -> None:
    """The question that was asked is still the one that waits; each step runs once, in order; nothing was retried."""
    assert run.pending()["id"] == asked["id"]
    run.approve(asked)
    third = next_question(run, asked)
    run.approve(third)
    session = run.status("completed", timeout=60)
    assert ledger.words() == ["one", "two", "three"]
    assert session["attempt"] == 1
    for approval in (asked, third):
        told = run.approval(approval)
        assert told["status"] == "approved" and told["delivered_at"] and told["consumed_at"]
    completions = [event for event in run.events() if event["type"] == "sub_agent_completed"]
    assert len(completions) == 1


@pytest.mark.parametrize("name", ["web", "worker", "beat"])
def test_kill_9_of_one_service_while_a_child_waits(house: Any, ledger: Any, name: str) -> None:
    run, asked = three_steps(house, ledger)
    house.kill(name)
    wait_until(house.is_ready)
    assert_it_ends_well(run, asked, ledger)


def test_kill_9_of_the_broker_while_a_child_waits(house: Any, ledger: Any) -> None:
    run, asked = three_steps(house, ledger)
    house.kill_broker()
    if house.broker is not None:
        house.broker.start()
    wait_until(house.is_ready)
    assert_it_ends_well(run, asked, ledger)


def test_kill_9_of_all_of_them_and_the_supervisor_and_up_again(own_house: Any, ledger: Any) -> None:
    run, asked = three_steps(own_house, ledger)
    children = own_house.apart()
    assert len(children) >= 3
    own_house.kill_everything()
    assert [pid for pid in children if not processes.alive(pid)] == []
    own_house.start()
    assert_it_ends_well(run, asked, ledger)


FRAMES = ("approval_registered", "approval_reply", "approval_consumed", "event_ack", "terminal_ack")


@pytest.fixture(scope="module")
def wired(houses: Any) -> Iterator[Any]:
    """A Wardroom behind a wire that a test can cut."""
    house = houses(timings=QUICK)
    with Wire(house.port) as wire:
        house.environment["WARDROOM_URL"] = wire.url
        yield house.start(), wire


@pytest.mark.parametrize("frame", FRAMES)
def test_kill_9_of_web_between_what_it_has_done_and_its_answer(wired: Any, ledger: Any, frame: Any) -> None:
    """The row is written, the frame that says so never leaves: the child asks again and gets the same answer."""
    house, wire = wired
    if frame == "approval_registered":
        wire.cut_at(f'"{frame}"', lambda: house.kill("web"))
    run, asked = three_steps(house, ledger)
    if frame != "approval_registered":
        wire.cut_at(f'"{frame}"', lambda: house.kill("web"))
    assert_it_ends_well(run, asked, ledger)
    assert wire.cuts == 1


def test_everything_at_once_between_consume_and_its_answer(wired: Any, ledger: Any) -> None:
    house, wire = wired
    wait_until(house.is_ready)
    run, asked = three_steps(house, ledger)
    wire.cut_at('"approval_consumed"', house.kill_everything)
    run.approve(asked)
    wait_until(lambda: wire.cuts and house.process.poll() is not None)
    assert ledger.words() == ["one"]
    house.start()
    run.approve(next_question(run, asked))
    run.status("completed", timeout=60)
    assert ledger.words() == ["one", "two", "three"]


def test_a_decision_made_while_the_child_is_away_reaches_it(own_house: Any, ledger: Any) -> None:
    run, asked = three_steps(own_house, ledger)
    own_house.kill("web")
    wait_until(own_house.is_ready)
    run.approve(asked)
    wait_until(lambda: ledger.words() == ["one", "two"], 40)
    run.approve(next_question(run, asked))
    run.status("completed")
    assert ledger.words() == ["one", "two", "three"]


def down_for(house: Any, secs: Any) -> None:
    """kill -9 of the supervisor (its services go with it), and that long nothing of Wardroom runs."""
    house.kill_supervisor()
    outage(secs)


SHORT = {
    "connection_grace_secs": 5,
    "outage_gap_secs": 3,
    "heartbeat_secs": 0.5,
    "heartbeat_lease_secs": 2,
    "max_idle_secs": 8,
}


def test_services_down_for_longer_than_every_grace_declare_nobody_dead(houses: Any, tmp_path: Path) -> None:
    house = houses(timings=QUICK | SHORT).start()
    ledgers = [Ledger(tmp_path / f"ran-{n}") for n in range(2)]
    runs = [(*three_steps(house, ledger), ledger) for ledger in ledgers]
    down_for(house, 12)
    house.start()
    for run, asked, ledger in runs:
        assert_it_ends_well(run, asked, ledger)


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_services_down_for_three_minutes_declare_nobody_dead(houses: Any, ledger: Any) -> None:
    house = houses().start()
    run, asked = three_steps(house, ledger)
    down_for(house, 180)
    house.start()
    assert_it_ends_well(run, asked, ledger)


def test_a_clean_stop_ends_the_children_and_says_why(own_house: Any, ledger: Any) -> None:
    run, _ = three_steps(own_house, ledger)
    children = own_house.apart()
    began = time.monotonic()
    assert own_house.stop(signal.SIGTERM) == 0
    assert time.monotonic() - began < 10
    assert [pid for pid in children if processes.alive(pid)] == []
    own_house.start()
    session = run.status("error")
    assert session["error"] == "stopped with the server"
    assert ledger.words() == ["one"]
    assert run.ask("GET", f"approvals?session={run.id}")["results"][0]["status"] == "cancelled"
