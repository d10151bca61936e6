"""Times as programs read them: one form on every surface."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone

from core.db import clock


def test_a_moment_is_in_utc_and_has_six_digits_of_a_second() -> None:
    at = datetime(2026, 3, 1, 1, 30, tzinfo=timezone(timedelta(hours=2)))
    assert clock.moment(at) == "2026-02-28T23:30:00.000000Z"
    assert clock.moment(datetime(2026, 3, 1, 1, 30, 0, 5, tzinfo=UTC)) == "2026-03-01T01:30:00.000005Z"
    assert datetime.fromisoformat(clock.moment(at)) == at
