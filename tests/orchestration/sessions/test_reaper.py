"""A lost connection: its grace, the start of the grace, and its restart."""

from __future__ import annotations

import uuid
from datetime import datetime, timedelta

import pytest

from core.db.clock import clock_at, read_database_clock
from ledger import outages, sweeps
from ledger.models import Outage, SkippedRow
from orchestration.models import Session, WebProcess
from orchestration.sessions import lifecycle, reaper
from tests.orchestration import stages

pytestmark = pytest.mark.django_db


@pytest.fixture
def start(db: None) -> datetime:
    """A moment, with one web process that lives."""
    moment = read_database_clock()
    WebProcess.objects.create(host="a", pid=1, heartbeat_at=moment)
    Outage.objects.create(name=outages.HEARTBEATS, seen_at=moment)
    return moment


def lost(at: datetime) -> Session:
    session = stages.running()
    stages.set_attempt(session, connection_since=at - timedelta(seconds=30), connection_lost_at=at)
    return session


def beat(start: datetime, secs: float) -> None:
    """The web process lives until then, and was seen to."""
    now = start + timedelta(seconds=secs)
    WebProcess.objects.filter(host="a").update(heartbeat_at=now)
    Outage.objects.filter(name=outages.HEARTBEATS).update(seen_at=now)


def sweep(start: datetime, secs: float) -> int:
    beat(start, secs)
    with clock_at(start + timedelta(seconds=secs)):
        return reaper.sweep()


def test_a_connection_lost_for_a_minute_is_an_error_that_says_so(start: datetime) -> None:
    session = lost(start)
    assert sweep(start, 59) == 0
    assert sweep(start, 61) == 1
    assert (stages.again(session).status, stages.again(session).error) == ("error", "connection lost for 60 s")


def test_retries_left_queue_it_again_until_they_are_spent(start: datetime) -> None:
    session = lost(start)
    Session.objects.filter(pk=session.pk).update(retries_left=1)
    assert sweep(start, 61) == 1
    again = stages.again(session)
    assert (again.status, again.attempt, again.retries_left) == ("queued", 2, 0)
    first = stages.attempt(session, 1)
    assert (first.status, first.reason) == ("error", "connection lost for 60 s")


def test_a_connection_that_came_back_is_left_alone(start: datetime) -> None:
    session = lost(start)
    live = WebProcess.objects.get()
    stages.set_attempt(session, connection_lost_at=None, web_process=live)
    assert sweep(start, 61) == 0
    assert not reaper.end_lost(session.pk, 1, start + timedelta(seconds=61)), "found lost, but back meanwhile"


def test_the_grace_of_a_dead_web_process_counts_from_its_last_heartbeat(start: datetime) -> None:
    session = stages.running()
    dead = WebProcess.objects.create(host="b", pid=2, heartbeat_at=start - timedelta(seconds=10))
    stages.set_attempt(session, connection_since=start - timedelta(seconds=500), web_process=dead)
    assert sweep(start, 49) == 0
    assert sweep(start, 51) == 1


def test_a_row_of_a_web_process_that_was_cleaned_away_still_ends(start: datetime) -> None:
    session = stages.running()
    stages.set_attempt(session, connection_since=start, web_process=None)
    assert sweep(start, 59) == 0
    assert sweep(start, 61) == 1


def test_the_grace_starts_anew_where_an_outage_ended(start: datetime) -> None:
    lost(start)
    Outage.objects.create(name=outages.SWEEPS, ended_at=start + timedelta(seconds=200))
    assert sweep(start, 259) == 0
    assert sweep(start, 261) == 1


def alone(start: datetime, secs: float) -> int:
    """A sweep while no web process lives."""
    with clock_at(start + timedelta(seconds=secs)):
        return reaper.sweep()


def test_nobody_is_ended_while_no_web_process_lives(start: datetime) -> None:
    lost(start)
    assert alone(start, 200) == 0


def test_the_return_of_the_web_is_the_end_of_an_outage(start: datetime) -> None:
    lost(start)
    assert alone(start, 200) == 0
    WebProcess.objects.update(heartbeat_at=start + timedelta(seconds=201))
    assert alone(start, 201) == 0, "the first sweep that sees it only notes that life is back"
    assert [sweep(start, secs) for secs in (220, 240, 260)] == [0, 0, 0]
    assert sweep(start, 262) == 1


def test_services_that_were_down_for_three_minutes_declare_nobody_dead(start: datetime) -> None:
    session = lost(start)

    def run(secs: float) -> int:
        now = start + timedelta(seconds=secs)
        WebProcess.objects.filter(host="a").update(heartbeat_at=now)
        with clock_at(now):
            return sweeps.run("connections_sweep", lambda moment: reaper.sweep(moment=moment))

    assert [run(secs) for secs in (0, 180, 200, 220, 239)] == [0, 0, 0, 0, 0]
    assert stages.again(session).status == "running"
    assert run(241) == 1


def test_one_session_that_cannot_be_processed_does_not_keep_the_others(
    start: datetime, monkeypatch: pytest.MonkeyPatch
) -> None:
    poisoned, fine = lost(start), lost(start)
    real = lifecycle.fail

    def fail(session_id: uuid.UUID, *args: object, **kwargs: object) -> bool:
        if session_id == poisoned.pk:
            raise RuntimeError("poison\0\ud800")
        return real(session_id, *args, **kwargs)

    monkeypatch.setattr(lifecycle, "fail", fail)
    assert sweep(start, 61) == 1
    assert SkippedRow.objects.get().error == "RuntimeError: poison\\0\\ud800"
    assert stages.again(fine).status == "error"
