"""A clock that is set forward or back, and a suspended machine: they end no child and hold no clock still."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta

import pytest

from approvals import attempt_clock, decisions
from core.db.clock import clock_at, read_database_clock
from ledger import outages, sweeps
from ledger.models import Outage
from orchestration.models import Attempt, Session, WebProcess
from orchestration.sessions import cancel, clock_steps, launch, reaper, spawn, supervisor_reports, waits, watchdog
from tests.orchestration import stages

pytestmark = pytest.mark.django_db

HOUR = 3600
STEPS = [120, HOUR, 30 * HOUR]
At = Callable[[float], datetime]


@pytest.fixture
def at(db: None) -> At:
    """Moments, in seconds from the start of the test. Wardroom lives, and so does one web process."""
    Outage.objects.all().delete()
    start = read_database_clock()
    WebProcess.objects.create(host="a", pid=1, heartbeat_at=start)
    with clock_at(start):
        outages.note_life()
        outages.note_life(outages.HEARTBEATS)
    return lambda secs: start + timedelta(seconds=secs)


def sweep(now: datetime) -> int:
    """Every sweep that can end a child, as beat would run it at that time."""
    did = watch(now)
    with clock_at(now):
        return did + sweeps.run("launch_sweep", lambda moment: launch.sweep(moment=moment))


def watch(now: datetime) -> int:
    """Those of children that run; nothing is launched."""
    WebProcess.objects.filter(host="a").update(heartbeat_at=now)
    with clock_at(now):
        did = sweeps.run("connections_sweep", lambda moment: reaper.sweep(moment=moment))
        return did + sweeps.run("watchdog_sweep", lambda moment: watchdog.sweep(moment=moment))


def live(at: At, first: float, last: float, every: float = 20) -> int:
    """Sweeps, every so many seconds; how many sessions they ended."""
    return sum(sweep(at(first + step * every)) for step in range(int((last - first) // every) + 1))


def connected(**order: object) -> Session:
    """Make a running session with a live connection."""
    session = stages.running(**order)
    stages.set_attempt(session, web_process=WebProcess.objects.get(host="a"))
    return session


def status(session: Session) -> str:
    return stages.again(session).status


# --- forward, or suspended ------------------------------------------------------------------------------------


@pytest.mark.parametrize("step", STEPS)
def test_a_step_forward_ends_nobody(at: At, step: int) -> None:
    running, starting, external = stages.running(), stages.starting(), stages.queued(runner="external", command=None)
    Attempt.objects.filter(session=starting).update(launched_at=at(0))
    lost, cancelled = stages.running(), stages.running()
    stages.set_attempt(lost, connection_since=at(-30), connection_lost_at=at(0))
    cancel.cancel(stages.project(), cancelled.pk, "enough", stages.ACTOR)
    assert sweep(at(step)) == 0
    for session in (running, lost, cancelled):
        assert status(session) == "running"
    assert (status(starting), status(external)) == ("starting", "starting")


@pytest.mark.parametrize("step", STEPS)
def test_the_seconds_of_an_outage_do_not_count_for_the_total(at: At, step: int) -> None:
    session = connected(metadata={"child_watchdog.max_total_secs": 300, "child_watchdog.max_idle_secs": 2000})
    assert live(at, 0, 100) == 0
    assert live(at, 100 + step, 100 + step + 180) == 0
    with clock_at(at(100 + step + 180)):
        seen = watchdog.clocks(stages.again(session), stages.attempt(session))
    assert seen is not None and 275 < seen.total_secs < 285
    assert live(at, 100 + step + 200, 100 + step + 220) == 1
    assert "max_total_secs=300" in (stages.again(session).error or "")


def test_an_outage_while_a_person_was_waited_for_is_taken_off_once(at: At) -> None:
    session = connected(metadata={"child_watchdog.max_total_secs": 900, "child_watchdog.max_idle_secs": 5000})
    approval = stages.asked(session)
    assert live(at, 0, 40) == 0
    assert sweep(at(HOUR)) == 0
    with clock_at(at(HOUR + 100)):
        decisions.withdraw(session.project_id, approval.pk, stages.ACTOR)
    with clock_at(at(HOUR + 600)):
        seen = watchdog.clocks(stages.again(session), stages.attempt(session))
    assert seen is not None and 495 < seen.total_secs < 505


def test_half_of_an_outage_in_a_wait_is_taken_off_once(at: At) -> None:
    session = stages.running()
    approval = stages.asked(session)
    with clock_at(at(1000)):
        decisions.withdraw(session.project_id, approval.pk, stages.ACTOR)
    assert sweep(at(2000)) == 0
    with clock_at(at(2100)):
        seen = watchdog.clocks(stages.again(session), stages.attempt(session))
    assert seen is not None and 95 < seen.total_secs < 105


def test_an_external_child_has_its_whole_day_though_wardroom_was_away(at: At) -> None:
    session = stages.queued(runner="external", command=None)
    assert sweep(at(40 * HOUR)) == 0
    with clock_at(at(40 * HOUR + 23 * HOUR)):
        assert launch.sweep() == 0
    with clock_at(at(40 * HOUR + 24 * HOUR + 60)):
        assert launch.sweep() == 1
    assert status(session) == "error"


def test_a_wait_is_longer_by_the_time_that_wardroom_was_away(at: At) -> None:
    session = stages.suspended()
    Session.objects.filter(pk=session.pk).update(wait_until=at(HOUR))
    assert watch(at(2 * HOUR)) == 0
    with clock_at(at(2 * HOUR)):
        assert waits.sweep() == 0
    with clock_at(at(3 * HOUR - 60)):
        assert waits.sweep() == 0
    assert status(session) == "suspended"
    with clock_at(at(3 * HOUR + 60)):
        assert waits.sweep() == 1
    assert status(session) == "queued"


def test_a_sweep_that_began_before_the_clock_was_set_forward_uses_the_time_before(at: At) -> None:
    session, before = stages.running(), read_database_clock()
    with clock_at(at(2 * HOUR)):
        assert watchdog.sweep(moment=before) == 0
        assert reaper.sweep(moment=before) == 0
    assert status(session) == "running"


# --- back -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("step", STEPS)
def test_a_step_back_ends_nobody(at: At, step: int) -> None:
    session, starting = stages.running(), stages.starting()
    Attempt.objects.filter(session=starting).update(launched_at=at(0))
    assert live(at, -step, -step + 60) == 0
    assert (status(session), status(starting)) == ("running", "starting")


@pytest.mark.parametrize("step", STEPS)
def test_after_a_step_back_silence_is_measured_in_its_usual_time(at: At, step: int) -> None:
    session = connected(metadata={"child_watchdog.max_idle_secs": 60})
    stages.set_attempt(session, last_event_at=at(0))
    assert live(at, -step, -step + 40) == 0
    assert live(at, -step + 60, -step + 80) == 1
    assert "max_idle_secs=60" in (stages.again(session).error or "")


@pytest.mark.parametrize("step", STEPS)
def test_after_a_step_back_the_first_word_is_awaited_for_its_usual_time(at: At, step: int) -> None:
    session = stages.starting()
    stages.set_attempt(session, launched_at=at(0), relaunched=True)
    assert live(at, -step, -step + 40) == 0
    assert live(at, -step + 60, -step + 100) == 1
    assert stages.again(session).error == "no first frame from the child in 60 s"


@pytest.mark.parametrize("step", STEPS)
def test_after_a_step_back_a_lost_connection_has_its_usual_grace(at: At, step: int) -> None:
    told, died = stages.running(), stages.running()
    stages.set_attempt(told, connection_since=at(-30), connection_lost_at=at(0))
    dead = WebProcess.objects.create(host="b", pid=2, heartbeat_at=at(0))
    stages.set_attempt(died, connection_since=at(-30), web_process=dead)
    assert live(at, -step, -step + 40) == 0
    assert live(at, -step + 60, -step + 120) == 2


@pytest.mark.parametrize("step", STEPS)
def test_after_a_step_back_a_cancel_and_its_kill_come_in_their_usual_time(at: At, step: int) -> None:
    session = stages.running()
    token = spawn.mint(session)
    cancel.cancel(stages.project(), session.pk, "enough", stages.ACTOR)
    assert live(at, -step, -step + 10, every=5) == 0
    assert live(at, -step + 20, -step + 40) == 1
    assert status(session) == "cancelled"
    stages.set_attempt(session, kill_requested_at=at(20))
    life = supervisor_reports.Life(pid=1, pgid=1, host="here")
    with clock_at(at(-step + 40)):
        assert supervisor_reports.alive(token, session.pk, 1, life) == "cancelled: enough"


@pytest.mark.parametrize("step", STEPS)
def test_after_a_step_back_a_noted_outage_holds_no_clock_until_its_end(at: At, step: int) -> None:
    Outage.objects.filter(name=outages.SWEEPS).update(ended_at=at(0), seen_at=at(0))
    session = connected(metadata={"child_watchdog.max_idle_secs": 60})
    assert live(at, -step, -step + 40) == 0
    assert live(at, -step + 60, -step + 80) == 1
    assert status(session) == "timeout"


def test_a_person_who_is_waited_for_over_a_step_back_makes_no_child_older(at: At) -> None:
    session = stages.running(metadata={"child_watchdog.max_total_secs": 600})
    approval = stages.asked(session)
    assert sweep(at(-HOUR)) == 0
    with clock_at(at(-HOUR + 100)):
        decisions.withdraw(session.project_id, approval.pk, stages.ACTOR)
    assert attempt_clock.clock(session.pk, 1).waited_secs >= 0
    with clock_at(at(-HOUR + 200)):
        seen = watchdog.clocks(stages.again(session), stages.attempt(session))
    assert seen is not None and seen.total_secs <= 200


def test_a_wait_that_ends_before_it_began_has_taken_no_time(at: At) -> None:
    session = stages.running()
    approval = stages.asked(session)
    with clock_at(at(-HOUR)):
        decisions.withdraw(session.project_id, approval.pk, stages.ACTOR)
    assert attempt_clock.clock(session.pk, 1).waited_secs == 0


def test_a_wait_for_children_is_never_longer_than_its_lease(at: At) -> None:
    session = stages.suspended()
    assert watch(at(-10 * HOUR)) == 0
    until = stages.again(session).wait_until
    assert until is not None and until <= at(-10 * HOUR + 6 * HOUR)


def test_nothing_is_moved_while_the_clock_goes_on(at: At) -> None:
    session = stages.running()
    cancel.cancel(stages.project(), session.pk, "enough", stages.ACTOR)
    stages.suspended()
    assert clock_steps.correct_future() == 0
