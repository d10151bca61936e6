"""The health of the periodic jobs: each against its own schedule, by the database's clock."""

from __future__ import annotations

from datetime import timedelta
from typing import Any
from uuid import UUID

from django.conf import settings
from django.db.models import Case, DurationField, ExpressionWrapper, F, Q, QuerySet, Value, When

from accounts.models import Project
from core.db.clock import database_now, later
from ledger import sweep_batch
from ledger.models import Sweep, Why
from ledger.outages import STEP_SECS

AHEAD = timedelta(seconds=STEP_SECS)
CENTURY_SECS = 100 * 365.25 * 86400
SLACK_SECS = 10.0  # a job may wait this long behind others without being late


def interval(name: str) -> float | None:
    """Return the seconds between two runs of a job, or None if it is not on the schedule."""
    entry = settings.CELERY_BEAT_SCHEDULE.get(name)
    return float(entry["schedule"]) if entry else None


def timed(rows: QuerySet[Sweep]) -> QuerySet[Any]:
    """Add `began`, `ended` and `silent_for`, the time since each job last finished.

    PostgreSQL stores moments that Python cannot read, and one of them would break the page for all rows. Such a moment
    is left out, and sets `is_odd` on its row.
    """
    silent = ExpressionWrapper(database_now() - F("finished_at"), output_field=DurationField())
    # The model declares these attributes; only this query sets them.
    return rows.defer("started_at", "finished_at").annotate(  # type: ignore[no-redef]
        began=Case(When(readable("started_at"), then=F("started_at")), default=None),
        ended=Case(When(readable("finished_at"), then=F("finished_at")), default=None),
        silent_for=Case(When(readable("finished_at"), then=silent), default=None),
        is_odd=Case(When(_is_odd("started_at") | _is_odd("finished_at"), then=Value(True)), default=Value(False)),
    )


def readable(column: str) -> Q:
    """Match rows with this moment within a century of now."""
    return Q(**{f"{column}__range": (later(-CENTURY_SECS), later(CENTURY_SECS))})


def _is_odd(column: str) -> Q:
    return Q(**{f"{column}__isnull": False}) & ~readable(column)


def of_sweep(sweep: Any, left: dict[str, dict[str, int]]) -> tuple[str, str]:
    """Return a word and a tone for a job from `timed`. `left` is the number of rows that each job skipped."""
    every = interval(sweep.name)
    patience = timedelta(seconds=2 * (every or 0) + SLACK_SECS)
    word, tone = "on time", "good"
    if sweep.error:
        word, tone = "failing", "bad"
    elif every is None:
        word, tone = "not scheduled", ""
    elif sweep.is_odd:
        word, tone = "last ran at a time that cannot be read", "bad"
    elif sweep.silent_for is None:
        # An installation starts with its first project. In a new one the job has not been due yet.
        is_old = Project.objects.filter(created_at__lt=later(-patience.total_seconds())).exists()
        word, tone = ("never finished", "bad") if is_old else ("not yet due", "")
    elif sweep.silent_for < -AHEAD:
        word, tone = "last ran in the future: the clock was set back", "bad"
    elif sweep.silent_for > patience:
        word, tone = "late", "bad"
    failed, held = (left.get(why, {}).get(sweep.name, 0) for why in (Why.FAILED, Why.HELD))
    words = [f"{failed} {'row' if failed == 1 else 'rows'} cannot be processed"] if failed else []
    words += [f"the brake holds back {held} sessions"] if held else []
    if not words:
        return word, tone
    rows = ", ".join(words)
    return (f"{word}, {rows}" if tone == "bad" else rows), "bad"


def sweeps() -> list[dict[str, Any]]:
    """Return every job of the schedule, run or not: `{name, title, every, word, tone, ended}`."""
    known = {sweep.name: sweep for sweep in timed(Sweep.objects.all())}
    left = sweep_batch.counts()
    found = []
    for name in sorted({*settings.CELERY_BEAT_SCHEDULE, *known}):
        sweep = known.get(name) or Sweep(name=name)
        word, tone = of_sweep(sweep, left)
        title = name.removesuffix("_sweep").replace("_", " ")
        row = {"name": name, "title": title, "every": interval(name), "word": word, "tone": tone}
        found.append({**row, "ended": sweep.ended})
    return found


def trouble() -> dict[str, str]:
    """Return the jobs that need attention, with the reason: failing, late, or with rows that cannot be processed or are
    held back.
    """
    return {sweep["name"]: sweep["word"] for sweep in sweeps() if sweep["tone"] == "bad"}


def is_uuid(text: str) -> bool:
    """True for a UUID in our notation."""
    try:
        return str(UUID(text)) == text.lower()
    except ValueError:
        return False
