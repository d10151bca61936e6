"""Whether a beat job is on time: against its own schedule, by the database's clock."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from accounts.clock import read_database_clock
from accounts.models import Project
from config.health import CHECKS
from ledger import health
from ledger.models import Sweep

pytestmark = pytest.mark.django_db


def finished(name: str, secs_ago: float, **fields: str) -> None:
    at = read_database_clock() - timedelta(seconds=secs_ago)
    Sweep.objects.update_or_create(name=name, defaults={"started_at": at, "finished_at": at, **fields})


def word(title: str) -> tuple[str, str]:
    (found,) = [(sweep["word"], sweep["tone"]) for sweep in health.sweeps() if sweep["title"] == title]
    return found


def test_every_job_of_the_schedule_is_listed_run_or_not():
    assert {sweep["title"] for sweep in health.sweeps()} >= {"watchdog", "lines", "approvals expiry", "housekeeping"}


def test_a_job_is_late_after_two_of_its_own_intervals_and_some_slack():
    finished("watchdog_sweep", 1)
    finished("lines_sweep", 2 * 5 + health.SLACK_SECS + 2)
    finished("housekeeping", 2 * 5 + health.SLACK_SECS + 2)
    assert word("watchdog") == ("on time", "good")
    assert word("lines") == ("late", "bad")
    assert word("housekeeping") == ("on time", "good")


def test_a_job_whose_last_run_raised_is_failing_however_young():
    finished("watchdog_sweep", 1, error="OperationalError: gone")
    assert word("watchdog") == ("failing", "bad")


def test_a_job_that_never_finished_alarms_only_in_a_house_that_is_old_enough():
    Project.objects.update(created_at=read_database_clock())
    assert word("housekeeping") == ("not yet due", "")
    Project.objects.update(created_at=read_database_clock() - timedelta(hours=1))
    assert word("housekeeping") == ("never finished", "bad")


@pytest.mark.parametrize("secs_ahead", [120, 3600, 86400])
def test_a_job_that_last_ran_in_the_future_alarms(secs_ahead):
    finished("watchdog_sweep", -secs_ahead)
    assert word("watchdog") == ("last ran in the future: the clock was set back", "bad")


def test_a_last_run_in_the_future_degrades_readyz_with_its_negative_age():
    finished("watchdog_sweep", -3600)
    finished("lines_sweep", 1)
    told = part("beat")
    assert (told["ok"], told["error"]) == (False, "the last run lies in the future: the clock was set back")
    assert -3601 < told["age_secs"] < -3590
    finished("watchdog_sweep", 1)
    assert part("beat")["ok"]


def part(name: str) -> dict[str, Any]:
    """What a part of /readyz says."""
    return {"ok": True} | CHECKS[name]()
