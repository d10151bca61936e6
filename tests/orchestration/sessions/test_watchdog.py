"""The watchdog: both clocks, their order, their overrides, and their stops. `clock_at` moves the time."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

import pytest

from approvals import decisions
from core.db.clock import clock_at, read_database_clock
from ledger import outages
from ledger.models import Outage
from orchestration.models import Session
from orchestration.sessions import watchdog
from orchestration.sessions.limits import Limits, limits
from tests.orchestration import stages

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def _no_outage(db: None) -> None:
    Outage.objects.all().delete()


def since(session: Session, secs: float) -> datetime:
    began = stages.attempt(session).running_at
    assert began is not None
    return began + timedelta(seconds=secs)


def running(**limits: Any) -> Session:
    return stages.running(metadata={f"child_watchdog.{name}": value for name, value in limits.items()})


def checked(session: Session, secs: float) -> tuple[str, str | None]:
    with clock_at(since(session, secs)):
        watchdog.sweep()
    row = stages.again(session)
    return row.status, row.error


def test_total_is_checked_before_idle_with_its_text() -> None:
    session = running(max_total_secs=30, max_idle_secs=30)
    assert checked(session, 31) == ("timeout", "Child session timed out after 30 seconds (max_total_secs=30)")


def test_events_keep_it_from_being_idle_but_not_from_its_total() -> None:
    session = running(max_total_secs=60, max_idle_secs=30)
    stages.set_attempt(session, last_event_at=since(session, 40))
    assert checked(session, 45)[0] == "running"
    assert checked(session, 60)[1] == "Child session timed out after 60 seconds (max_total_secs=60)"


def test_silence_is_an_idle_timeout_with_its_text() -> None:
    session = running(max_idle_secs=30)
    stages.set_attempt(session, last_event_at=since(session, 10))
    assert checked(session, 39)[0] == "running"
    text = "Child session idle timeout after 35 seconds without events (max_idle_secs=30)"
    assert checked(session, 45) == ("timeout", text)


def test_the_defaults_hold_without_overrides() -> None:
    session = stages.running()
    assert limits({}) == Limits(15, 3600, 900)
    assert checked(session, 899)[0] == "running"
    assert checked(session, 900)[0] == "timeout"


@pytest.mark.parametrize("value", ["0", "-1", "x", 0, -1, 1.5, True, None, "", "1e3", "²", "1e400", [5]])
def test_an_override_that_is_no_positive_integer_is_ignored(value: Any) -> None:
    assert limits({"child_watchdog.max_idle_secs": value}).max_idle_secs == 900


@pytest.mark.parametrize("value", [5, "5", " 5 ", "005"])
def test_a_positive_integer_or_its_decimal_string_overrides(value: Any) -> None:
    assert limits({"child_watchdog.max_idle_secs": value}).max_idle_secs == 5


@pytest.mark.parametrize("value", [10**14, "9" * 20, "9" * 5000, 2592001], ids=lambda value: str(value)[:20])
def test_a_stored_override_beyond_the_bound_counts_as_the_bound(value: Any) -> None:
    assert limits({"child_watchdog.max_idle_secs": value}).max_idle_secs == 30 * 86400


@pytest.mark.parametrize("metadata", [{"child_watchdog.max_total_secs": 10**14}, [1], "text", 5])
def test_a_session_with_absurd_metadata_keeps_no_other_from_being_checked(metadata: Any) -> None:
    odd, silent = stages.running(), running(max_idle_secs=30)
    Session.objects.filter(pk=odd.pk).update(metadata=metadata)
    with clock_at(since(silent, 45)):
        watchdog.sweep()
    assert stages.again(silent).status == "timeout"
    assert stages.again(odd).status == "running"


def test_it_is_checked_at_its_own_interval_only() -> None:
    session = running(check_interval_secs=60, max_idle_secs=10)
    assert checked(session, 59)[0] == "running"
    assert checked(session, 61)[1] == "Child session idle timeout after 60 seconds without events (max_idle_secs=10)"


def test_both_clocks_stand_still_while_a_person_is_waited_for() -> None:
    session = running(check_interval_secs=1, max_total_secs=60, max_idle_secs=30)
    stages.asked(session)
    assert checked(session, 5000)[0] == "running"
    with clock_at(since(session, 5000)):
        seen = watchdog.clocks(session, stages.attempt(session))
    assert seen is not None and seen.stopped_since is not None
    assert seen.total_secs < 60 and seen.idle_secs < 30


def test_a_limit_that_passed_before_the_wait_is_not_checked_during_it() -> None:
    session = running(check_interval_secs=1, max_total_secs=60, max_idle_secs=30)
    stages.asked(session)
    stages.set_attempt(session, running_at=since(session, -100))
    assert checked(session, 500)[0] == "running"


def test_after_the_answer_idle_begins_anew_and_the_wait_does_not_count() -> None:
    session = running(check_interval_secs=1, max_total_secs=60, max_idle_secs=30)
    approval = stages.asked(session)
    answered = since(session, 1000)
    with clock_at(answered):
        decisions.withdraw(session.project_id, approval.pk, stages.ACTOR)
    assert checked(session, 1029)[0] == "running"
    assert (checked(session, 1031)[1] or "").startswith("Child session idle timeout after 3")


def test_the_wait_is_taken_off_the_total() -> None:
    session = running(check_interval_secs=1, max_total_secs=60, max_idle_secs=50)
    approval = stages.asked(session)
    with clock_at(since(session, 1000)):
        decisions.withdraw(session.project_id, approval.pk, stages.ACTOR)
    stages.set_attempt(session, last_event_at=since(session, 1040))
    assert checked(session, 1058)[0] == "running"
    assert (checked(session, 1063)[1] or "").startswith("Child session timed out after 6")


def test_an_outage_of_ours_starts_the_idle_clock_anew_but_not_the_total() -> None:
    session = running(check_interval_secs=1, max_total_secs=500, max_idle_secs=30)
    Outage.objects.create(name=outages.SWEEPS, ended_at=since(session, 200))
    assert checked(session, 229)[0] == "running"
    assert checked(session, 231)[0] == "timeout"
    other = running(check_interval_secs=1, max_total_secs=50)
    Outage.objects.update(ended_at=since(other, 60))
    assert "max_total_secs=50" in (checked(other, 61)[1] or "")


def test_a_verdict_ends_the_attempt_and_the_kill_follows_the_grace() -> None:
    session = running(max_idle_secs=30)
    with clock_at(since(session, 45)):
        watchdog.sweep()
    attempt = stages.attempt(session)
    assert attempt.status == "timeout"
    assert attempt.kill_requested_at == since(session, 45 + 20)


def test_two_sweeps_at_once_end_it_once() -> None:
    session = running(max_idle_secs=30)
    moment = since(session, 45)
    with clock_at(moment):
        assert watchdog.sweep() == 1
        assert watchdog.sweep() == 0


def test_what_does_not_run_is_not_checked() -> None:
    session = stages.starting(metadata={"child_watchdog.max_total_secs": 1})
    later = read_database_clock() + timedelta(days=1)
    with clock_at(later):
        assert watchdog.sweep() == 0
    assert watchdog.clocks(session, stages.attempt(session)) is None
