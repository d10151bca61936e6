"""Sweeps record their times, their results, and their errors."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from core.db.clock import clock_at
from ledger import sweeps
from ledger.models import Sweep

pytestmark = pytest.mark.django_db(transaction=True)
NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)


def test_a_sweep_says_when_it_ran_and_what_it_did() -> None:
    with clock_at(NOON):
        assert sweeps.run("launch_sweep", lambda moment: 3) == 3
    row = Sweep.objects.get(pk="launch_sweep")
    assert (row.started_at, row.finished_at, row.did, row.error) == (NOON, NOON, 3, "")


def test_a_sweep_that_raises_says_why_and_does_not_pretend_to_have_finished() -> None:
    with clock_at(NOON):
        sweeps.run("launch_sweep", lambda moment: 0)
    with pytest.raises(ZeroDivisionError), clock_at(NOON + timedelta(seconds=5)):
        sweeps.run("launch_sweep", lambda moment: 1 // 0)
    row = Sweep.objects.get(pk="launch_sweep")
    assert row.finished_at == NOON
    assert "ZeroDivisionError" in row.error
