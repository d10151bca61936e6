"""Sweeps record themselves, and a gap in them is noticed before anybody is judged."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from ledger import sweeps
from ledger.models import Sweep

pytestmark = pytest.mark.django_db(transaction=True)
NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)


def test_a_sweep_says_when_it_ran_and_what_it_did():
    assert sweeps.run("launch_sweep", lambda: 3, now=NOON) == 3
    row = Sweep.objects.get(pk="launch_sweep")
    assert (row.started_at, row.finished_at, row.did, row.error) == (NOON, NOON, 3, "")


def test_a_sweep_that_raises_says_why_and_does_not_pretend_to_have_finished():
    sweeps.run("launch_sweep", lambda: 0, now=NOON)
    with pytest.raises(ZeroDivisionError):
        sweeps.run("launch_sweep", lambda: 1 // 0, now=NOON + timedelta(seconds=5))
    row = Sweep.objects.get(pk="launch_sweep")
    assert row.finished_at == NOON
    assert "ZeroDivisionError" in row.error


@pytest.mark.parametrize(("gap", "outage"), [(5, False), (30, False), (31, True), (600, True)])
def test_a_gap_of_over_thirty_seconds_is_an_outage_that_ends_with_the_next_sign_of_life(gap, outage):
    sweeps.note_life(now=NOON)
    back = NOON + timedelta(seconds=gap)
    sweeps.note_life(now=back)
    assert sweeps.outage_ended_at() == (back if outage else None)


def test_the_first_sweep_after_an_outage_knows_of_it_before_its_job_looks_at_a_clock():
    sweeps.note_life(now=NOON)
    back = NOON + timedelta(minutes=3)
    known = []
    sweeps.run("watchdog_sweep", lambda: known.append(sweeps.outage_ended_at()) or 0, now=back)
    assert known == [back]


def test_heartbeats_that_were_never_seen_or_are_old_are_silent():
    assert sweeps.silent_now(sweeps.HEARTBEATS, now=NOON)
    sweeps.note_life(sweeps.HEARTBEATS, now=NOON)
    assert not sweeps.silent_now(sweeps.HEARTBEATS, now=NOON + timedelta(seconds=30))
    assert sweeps.silent_now(sweeps.HEARTBEATS, now=NOON + timedelta(seconds=31))


def test_a_clock_that_steps_back_does_not_move_the_last_sign_of_life_back():
    sweeps.note_life(now=NOON)
    sweeps.note_life(now=NOON - timedelta(hours=1))
    sweeps.note_life(now=NOON + timedelta(seconds=10))
    assert sweeps.outage_ended_at() is None
