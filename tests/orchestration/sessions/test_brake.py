"""The brake: one sweep ends more than a tenth of all running sessions only when the next one agrees."""

from __future__ import annotations

import logging
from datetime import datetime, timedelta

import pytest

from core.db.clock import clock_at, read_database_clock
from ledger import health, outages
from ledger.models import Outage, SkippedRow
from orchestration.models import Attempt, Session, WebProcess
from orchestration.sessions import reaper, watchdog
from server.health import CHECKS
from tests.clock import call_at
from tests.orchestration import stages

pytestmark = pytest.mark.django_db

HELD = "the brake holds back 6 sessions"


@pytest.fixture
def start(db: None) -> datetime:
    Outage.objects.all().delete()
    return read_database_clock()


def at(start: datetime, secs: float) -> datetime:
    return start + timedelta(seconds=secs)


def silent(count: int) -> list[Session]:
    metadata = {"child_watchdog.max_idle_secs": 30, "child_watchdog.check_interval_secs": 1}
    return [stages.running(metadata=metadata) for _ in range(count)]


def ended() -> int:
    return Session.objects.filter(status__in=["timeout", "error"]).count()


def test_five_sessions_may_end_at_once_however_few_run(start: datetime) -> None:
    silent(5)
    with clock_at(at(start, 60)):
        assert watchdog.sweep() == 5
    assert not SkippedRow.objects.exists()


def test_a_mass_expiry_waits_for_the_next_sweep_and_is_named(start: datetime, caplog: pytest.LogCaptureFixture) -> None:
    silent(6)
    with caplog.at_level(logging.ERROR), clock_at(at(start, 60)):
        assert watchdog.sweep() == 0
    assert "6 of 6 sessions would end at once" in caplog.text
    assert HELD in health.trouble()["watchdog_sweep"]
    assert HELD in CHECKS["sweeps"]()["trouble"]["watchdog_sweep"]
    with clock_at(at(start, 60)):
        assert watchdog.sweep() == 0, "a second worker at the same moment is not the next sweep"
    with clock_at(at(start, 65)):
        assert watchdog.sweep() == 6
    with clock_at(at(start, 70)):
        assert watchdog.sweep() == 0
    assert not SkippedRow.objects.exists()


def test_a_clock_that_was_wrong_for_a_moment_ends_nobody(start: datetime) -> None:
    silent(6)
    with clock_at(at(start, 3000)):
        assert watchdog.sweep() == 0
    with clock_at(at(start, 5)):
        assert watchdog.sweep() == 0
    assert not SkippedRow.objects.exists(), "they are held back no longer"
    with clock_at(at(start, 3010)):
        assert watchdog.sweep() == 0, "and a later error of the clock is held back anew"
    assert ended() == 0


def test_what_was_held_back_ends_though_others_come_after_it(start: datetime) -> None:
    early, late = silent(6), silent(7)
    Attempt.objects.filter(session__in=late).update(running_at=at(start, 40))
    with clock_at(at(start, 60)):
        assert watchdog.sweep() == 0
    with clock_at(at(start, 75)):
        assert watchdog.sweep() == 6
    assert {stages.again(session).status for session in early} == {"timeout"}
    with clock_at(at(start, 80)):
        assert watchdog.sweep() == 7


def test_a_tenth_of_many_may_end_at_once(start: datetime) -> None:
    silent(7)
    for _ in range(3):
        stages.running()
    with clock_at(at(start, 60)):
        assert watchdog.sweep() == 0
    SkippedRow.objects.all().delete()
    others = [stages.running() for _ in range(60)]
    assert len(others) == 60
    with clock_at(at(start, 60)):
        assert watchdog.sweep() == 7


def test_lost_connections_of_many_wait_for_the_next_sweep(start: datetime) -> None:
    WebProcess.objects.create(host="a", pid=1, heartbeat_at=at(start, 100))
    with clock_at(at(start, 95)):
        outages.note_life(outages.HEARTBEATS)
    for _ in range(6):
        stages.set_attempt(stages.running(), connection_since=at(start, -30), connection_lost_at=start)
    with clock_at(at(start, 100)):
        assert reaper.sweep() == 0
    assert HELD in health.trouble()["connections_sweep"]
    WebProcess.objects.update(heartbeat_at=at(start, 105))
    with clock_at(at(start, 105)):
        assert reaper.sweep() == 6


def test_a_brake_whose_record_lies_in_the_future_does_not_hold_for_ever(start: datetime) -> None:
    silent(6)
    with clock_at(at(start, 4000)):
        assert watchdog.sweep() == 0
    Attempt.objects.update(running_at=at(start, -100))
    assert [call_at(at(start, secs), watchdog.sweep) for secs in (0, 5)] == [0, 6]


def test_rows_that_cannot_be_processed_hold_nobody_back(start: datetime) -> None:
    odd = silent(6)
    Session.objects.filter(pk__in=[session.pk for session in odd]).update(metadata=[1])
    assert [call_at(at(start, secs), watchdog.sweep) for secs in (60, 65)] == [0, 0]
    assert "6 rows cannot be processed" in health.trouble()["watchdog_sweep"]
    silent(1)
    with clock_at(at(start, 120)):
        assert watchdog.sweep() == 1
