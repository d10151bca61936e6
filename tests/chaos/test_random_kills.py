"""Kills at random, over and over, while children work. Run by `make chaos`.

CHAOS_SEED repeats a run. CHAOS_KILLS is the number of kills.
"""

import os
import random
import time
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.e2e.runs import Ledger, runbook
from tests.waiting import during, wait_until

pytestmark = [pytest.mark.stack, pytest.mark.chaos, pytest.mark.timeout(900)]

QUICK = {"sweep_secs": 1, "slow_sweep_secs": 2, "supervisor_alive_secs": 2}
STEPS, KILLS = 6, int(os.environ.get("CHAOS_KILLS", "25"))


@pytest.fixture
def dice() -> Any:
    seed = os.environ.get("CHAOS_SEED") or str(random.randrange(10**6))
    print(f"CHAOS_SEED={seed}")
    return random.Random(seed)


def test_the_sweeps_go_on_however_often_the_broker_is_killed(houses: Any) -> None:
    """A worker that comes through a lost connection deaf would be seen here: nothing would be swept any more."""
    house = houses(timings=QUICK).start()
    for _ in range(10):
        house.kill_broker()
        if house.broker is not None:
            house.broker.start()
        since = time.monotonic()
        wait_until(lambda since=since: age(house) < time.monotonic() - since, 60, why="a beat job ended since then")


def age(house: Any) -> Any:
    return house.parts()["beat"]["age_secs"]


@pytest.mark.slice
@pytest.mark.xdist_group("chaos")
def test_runs_end_well_whatever_is_killed_and_whenever(houses: Any, tmp_path: Path, dice: Any) -> None:
    house = houses(timings=QUICK).start()
    ledgers = [Ledger(tmp_path / f"ran-{n}") for n in range(3)]
    runs = [runbook(house, *(ledger.step(f"s{n}") for n in range(STEPS))) for ledger in ledgers]
    for _ in range(KILLS):
        strike(house, dice)
        for _ in during(dice.uniform(0, 4)):
            answer_all(house, runs)
    wait_until(house.is_ready, 60)
    for run, ledger in zip(runs, ledgers, strict=True):
        wait_until(lambda run=run: answer_all(house, runs) and run.session()["status"] == "completed", 180)
        assert ledger.words() == [f"s{n}" for n in range(STEPS)]


def strike(house: Any, dice: Any) -> None:
    """kill -9 of something that runs, or of everything."""
    victim = dice.choice(["web", "web", "worker", "beat", "broker", "everything"])
    if victim == "everything":
        house.kill_everything()
        house.begin()
    elif victim == "broker":
        house.kill_broker()
        if house.broker is not None:
            house.broker.start()
    elif house.part(victim):
        house.kill(victim)


def answer_all(house: Any, runs: Any) -> bool:
    """Approve whatever waits, as far as anybody answers; an answer that is refused as late or double is no harm."""
    for run in runs:
        try:
            waiting = house.call("GET", f"approvals?status=pending&session={run.id}")
            for asked in waiting.json()["results"] if waiting.status_code == 200 else ():
                house.call(
                    "POST", f"approvals/{asked['id']}/decide", {"decision": "approve", "digest": asked["digest"]}
                )
        except httpx.HTTPError:
            return False
    return True
