"""Signs of life: a gap in them is an outage, one in the future a step of the clock, and both are noticed in time."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from core.db.clock import clock_at
from ledger import outages, sweeps
from ledger.models import Downtime, Outage

pytestmark = pytest.mark.django_db(transaction=True)
NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)


def at(secs: float) -> datetime:
    return NOON + timedelta(seconds=secs)


@pytest.mark.parametrize(("gap", "outage"), [(5, False), (30, False), (31, True), (600, True)])
def test_a_gap_of_over_thirty_seconds_is_an_outage_that_ends_with_the_next_sign_of_life(gap: int, outage: bool) -> None:
    with clock_at(NOON):
        outages.note_life()
    with clock_at(at(gap)):
        outages.note_life()
    assert outages.ended_at() == (at(gap) if outage else None)
    assert outages.spans() == ([(NOON, at(gap))] if outage else [])


def test_the_first_sweep_after_an_outage_knows_of_it_before_its_job_looks_at_a_clock() -> None:
    with clock_at(NOON):
        outages.note_life()
    known: list[tuple[datetime, datetime | None]] = []

    def job(moment: datetime) -> int:
        known.append((moment, outages.ended_at()))
        return 0

    with clock_at(at(180)):
        sweeps.run("watchdog_sweep", job)
    assert known == [(at(180), at(180))]


def test_heartbeats_that_were_never_seen_are_old_or_lie_in_the_future_are_silent() -> None:
    with clock_at(NOON):
        assert outages.silent_now(outages.HEARTBEATS)
        outages.note_life(outages.HEARTBEATS)
    with clock_at(at(30)):
        assert not outages.silent_now(outages.HEARTBEATS)
    with clock_at(at(31)):
        assert outages.silent_now(outages.HEARTBEATS)
    with clock_at(at(-120)):
        assert outages.silent_now(outages.HEARTBEATS)


@pytest.mark.parametrize("back", [120, 3600, 86400])
def test_a_step_back_of_the_clock_is_noted_with_the_next_sign_of_life(back: int) -> None:
    with clock_at(NOON):
        outages.note_life()
    with clock_at(at(-back)):
        outages.note_life()
    assert Outage.objects.get(name=outages.SWEEPS).seen_at == at(-back)
    assert outages.ended_at() == at(-back), "every grace and idle clock restarts"
    with clock_at(at(-back + 31)):
        outages.note_life()
    assert outages.ended_at() == at(-back + 31), "the next outage is noticed, too"


def test_after_a_step_back_no_noted_outage_lies_in_the_future() -> None:
    with clock_at(at(-600)):
        outages.note_life(outages.HEARTBEATS)
    with clock_at(at(-10)):
        outages.note_life(outages.HEARTBEATS)
    with clock_at(NOON):
        outages.note_life()
    assert outages.ended_at() == at(-10)
    with clock_at(at(-300)):
        outages.note_life()
    assert outages.ended_at() == at(-300)
    assert outages.spans() == [(at(-600), at(-300))]


def test_an_outage_that_two_kinds_of_life_missed_counts_once() -> None:
    for name, gone, back in [(outages.SWEEPS, 0, 100), (outages.HEARTBEATS, 20, 110)]:
        with clock_at(at(gone)):
            outages.note_life(name)
        with clock_at(at(back)):
            outages.note_life(name)
    assert Downtime.objects.count() == 2
    assert outages.spans() == [(NOON, at(110))]
    assert outages.overlap_secs(outages.spans(), at(50), at(500)) == 60


def test_a_sign_of_life_that_no_calendar_has_stops_no_sweep() -> None:
    Outage.objects.create(name=outages.SWEEPS, seen_at=datetime(9999, 12, 31, tzinfo=UTC))
    with clock_at(NOON):
        assert sweeps.run("launch_sweep", lambda moment: 3) == 3
    assert Outage.objects.get().seen_at == NOON
