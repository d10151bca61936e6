"""A runbook child waits for a person while things are killed. The run ends as if nothing had happened."""

import signal
import time

import pytest

from tests.ops import processes
from tests.ops.embedded import Embedded
from tests.ops.runs import Ledger, runbook
from tests.ops.wire import Wire
from tests.waiting import wait_until

pytestmark = [pytest.mark.stack, pytest.mark.timeout(240)]

# Seconds for what is minutes in life. The child comes back after a pause of its own, up to fifteen seconds.
QUICK = {"sweep_secs": 1, "slow_sweep_secs": 2, "keeper_alive_secs": 2, "line_grace_secs": 30}


@pytest.fixture(scope="module")
def house():
    with Embedded(timings=QUICK) as made:
        yield made.start()


@pytest.fixture
def own_house():
    with Embedded(timings=QUICK) as made:
        yield made.start()


@pytest.fixture
def ledger(tmp_path):
    return Ledger(tmp_path / "ran")


def three_steps(house, ledger):
    """A run whose first step has run and whose second waits for a person."""
    run = runbook(house, "!" + ledger.step("one"), ledger.step("two"), ledger.step("three"))
    return run, run.pending()


def assert_it_ends_well(run, asked, ledger):
    """The question that was asked is still the one that waits; each step runs once, in order; nothing was retried."""
    assert run.pending()["id"] == asked["id"]
    run.approve(asked)
    third = wait_until(lambda: (found := run.pending())["id"] != asked["id"] and found, 40)
    run.approve(third)
    session = run.status("completed", timeout=60)
    assert ledger.words() == ["one", "two", "three"]
    assert session["attempt"] == 1
    for approval in (asked, third):
        told = run.approval(approval)
        assert told["status"] == "approved" and told["delivered_at"] and told["consumed_at"]
    completions = [event for event in run.events() if event["type"] == "sub_agent_completed"]
    assert len(completions) == 1


@pytest.mark.parametrize("name", ["web", "worker", "beat", "valkey"])
def test_kill_9_of_one_service_while_a_child_waits(house, ledger, name):
    run, asked = three_steps(house, ledger)
    house.kill(name)
    wait_until(house.is_ready, 20)
    assert_it_ends_well(run, asked, ledger)


def test_kill_9_of_all_of_them_and_the_supervisor_and_up_again(own_house, ledger):
    run, asked = three_steps(own_house, ledger)
    children = keepers_and_children(own_house)
    assert len(children) >= 3
    for name in ("web", "worker", "beat", "valkey"):
        own_house.kill(name)
    own_house.kill_supervisor()
    wait_until(lambda: not own_house.part("web"), 5)
    assert [pid for pid in children if not processes.alive(pid)] == []
    own_house.start()
    assert_it_ends_well(run, asked, ledger)


def keepers_and_children(house):
    """Who lives outside of the supervisor's tree and belongs to the house: guards, keepers, children."""
    inside = {house.pid, *processes.descendants(house.pid)}
    return [pid for pid in processes.mentioning(house.url) if pid not in inside and processes.alive(pid)]


@pytest.mark.parametrize(
    "frame", ["approval_registered", "approval_reply", "approval_consumed", "event_ack", "terminal_ack"]
)
def test_kill_9_of_web_between_what_it_has_done_and_its_answer(ledger, frame):
    """The row is written, the frame that says so never leaves: the child asks again and gets the same answer."""
    with Embedded(timings=QUICK) as house, Wire(house.port) as wire:
        house.environment["WARDROOM_URL"] = wire.url
        house.start()
        if frame == "approval_registered":
            wire.cut_at(f'"{frame}"', lambda: house.kill("web"))
        run, asked = three_steps(house, ledger)
        if frame != "approval_registered":
            wire.cut_at(f'"{frame}"', lambda: house.kill("web"))
        assert_it_ends_well(run, asked, ledger)
        assert wire.cuts == 1


def test_everything_at_once_between_consume_and_its_answer(ledger):
    with Embedded(timings=QUICK) as house, Wire(house.port) as wire:
        house.environment["WARDROOM_URL"] = wire.url
        house.start()
        run, asked = three_steps(house, ledger)

        def kill_everything():
            for name in ("web", "worker", "beat", "valkey"):
                house.kill(name)
            house.kill_supervisor()

        wire.cut_at('"approval_consumed"', kill_everything)
        run.approve(asked)
        wait_until(lambda: wire.cuts and house.process.poll() is not None, 20)
        assert ledger.words() == ["one"]
        house.start()
        third = wait_until(lambda: (found := run.pending())["id"] != asked["id"] and found, 40)
        run.approve(third)
        run.status("completed", timeout=60)
        assert ledger.words() == ["one", "two", "three"]


def test_a_decision_made_while_the_child_is_away_reaches_it(own_house, ledger):
    run, asked = three_steps(own_house, ledger)
    own_house.kill("web")
    wait_until(own_house.is_ready, 20)
    run.approve(asked)
    wait_until(lambda: ledger.words() == ["one", "two"], 40)
    run.approve(wait_until(lambda: (found := run.pending())["id"] != asked["id"] and found, 20))
    run.status("completed")
    assert ledger.words() == ["one", "two", "three"]


def down_for(house, secs):
    """kill -9 of the supervisor (its services go with it), and that long nothing of Wardroom runs."""
    house.kill_supervisor()
    until = time.monotonic() + secs
    wait_until(lambda: time.monotonic() > until, secs + 5)


SHORT = {
    "line_grace_secs": 5,
    "outage_gap_secs": 3,
    "heartbeat_secs": 0.5,
    "heartbeat_lease_secs": 2,
    "max_idle_secs": 8,
}


def test_services_down_for_longer_than_every_grace_declare_nobody_dead(ledger):
    with Embedded(timings=QUICK | SHORT) as house:
        house.start()
        runs = [three_steps(house, Ledger(ledger.path.with_name(f"ran-{n}"))) for n in range(3)]
        down_for(house, 12)
        house.start()
        for n, (run, asked) in enumerate(runs):
            assert_it_ends_well(run, asked, Ledger(ledger.path.with_name(f"ran-{n}")))


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_services_down_for_three_minutes_declare_nobody_dead(ledger):
    with Embedded() as house:
        house.start()
        run, asked = three_steps(house, ledger)
        down_for(house, 180)
        house.start()
        assert_it_ends_well(run, asked, ledger)


def test_a_clean_stop_ends_the_children_and_says_why(own_house, ledger):
    run, _ = three_steps(own_house, ledger)
    children = keepers_and_children(own_house)
    began = time.monotonic()
    assert own_house.stop(signal.SIGTERM) == 0
    assert time.monotonic() - began < 10
    assert [pid for pid in children if processes.alive(pid)] == []
    own_house.start()
    session = run.status("error")
    assert session["error"] == "stopped with the server"
    assert ledger.words() == ["one"]
    assert run.ask("GET", f"approvals?session={run.id}")["results"][0]["status"] == "cancelled"
