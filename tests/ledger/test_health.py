"""A beat job is on time or late against its own schedule, by the database's clock."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from django.db import connection
from django.test import Client

from accounts.models import Project
from core.db.clock import read_database_clock
from ledger import health, sweeps
from ledger.models import Sweep
from server.health import CHECKS

pytestmark = pytest.mark.django_db


def finished(name: str, secs_ago: float, **fields: str) -> None:
    at = read_database_clock() - timedelta(seconds=secs_ago)
    Sweep.objects.update_or_create(name=name, defaults={"started_at": at, "finished_at": at, **fields})


def word(title: str) -> tuple[str, str]:
    (found,) = [(sweep["word"], sweep["tone"]) for sweep in health.sweeps() if sweep["title"] == title]
    return found


def test_every_job_of_the_schedule_is_listed_run_or_not() -> None:
    assert {sweep["title"] for sweep in health.sweeps()} >= {
        "watchdog",
        "connections",
        "approvals expiry",
        "retention",
    }


def test_a_job_is_late_after_two_of_its_own_intervals_and_some_slack() -> None:
    finished("watchdog_sweep", 1)
    finished("connections_sweep", 2 * 5 + health.SLACK_SECS + 2)
    finished("retention_sweep", 2 * 5 + health.SLACK_SECS + 2)
    assert word("watchdog") == ("on time", "good")
    assert word("connections") == ("late", "bad")
    assert word("retention") == ("on time", "good")


def test_a_job_whose_last_run_raised_is_failing_however_young() -> None:
    finished("watchdog_sweep", 1, error="OperationalError: gone")
    assert word("watchdog") == ("failing", "bad")


def test_a_job_that_never_finished_alarms_only_in_a_house_that_is_old_enough() -> None:
    Project.objects.update(created_at=read_database_clock())
    assert word("retention") == ("not yet due", "")
    Project.objects.update(created_at=read_database_clock() - timedelta(hours=1))
    assert word("retention") == ("never finished", "bad")


@pytest.mark.parametrize("secs_ahead", [120, 3600, 86400])
def test_a_job_that_last_ran_in_the_future_alarms(secs_ahead: int) -> None:
    finished("watchdog_sweep", -secs_ahead)
    assert word("watchdog") == ("last ran in the future: the clock was set back", "bad")


def test_a_last_run_in_the_future_degrades_readyz_with_its_negative_age() -> None:
    finished("watchdog_sweep", -3600)
    finished("connections_sweep", 1)
    told = part("beat")
    assert (told["ok"], told["error"]) == (False, "the last run lies in the future: the clock was set back")
    assert -3601 < told["age_secs"] < -3590
    finished("watchdog_sweep", 1)
    assert part("beat")["ok"]


def part(name: str) -> dict[str, Any]:
    """Return one part of /readyz."""
    return {"ok": True} | CHECKS[name]()


@pytest.mark.parametrize("column", ["started_at", "finished_at"])
@pytest.mark.parametrize("odd", ["infinity", "-infinity"])
def test_a_moment_that_python_cannot_read_is_one_jobs_trouble(column: str, odd: str, admin_client: Client) -> None:
    finished("watchdog_sweep", 1)
    finished("connections_sweep", 1)
    if connection.vendor == "sqlite":
        odd = {"infinity": "9999-99-99 99:99:99", "-infinity": "0000-00-00 00:00:00"}[odd]
    with connection.cursor() as cursor:
        cursor.execute(f"UPDATE ledger_sweep SET {column} = %s WHERE name = 'watchdog_sweep'", [odd])
    assert word("watchdog") == ("last ran at a time that cannot be read", "bad")
    assert word("connections") == ("on time", "good")
    assert part("beat")["ok"]
    assert part("sweeps")["trouble"]["watchdog_sweep"] == "last ran at a time that cannot be read"
    for page in ("", "orchestration/session/front/", "ledger/sweep/", "ledger/sweep/watchdog_sweep/change/"):
        answer = admin_client.get(f"/admin/{page}", follow=True)
        assert answer.status_code == 200, page
        assert "last ran at a time that cannot be read" in answer.content.decode(), page
    sweeps.run("watchdog_sweep", lambda _moment: 0)
    assert word("watchdog") == ("on time", "good")
