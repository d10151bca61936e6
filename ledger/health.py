"""How the beat's jobs are: each against its own schedule, by the database's clock."""

from __future__ import annotations

from datetime import timedelta
from typing import Any
from uuid import UUID

from django.conf import settings
from django.db.models import DurationField, ExpressionWrapper, F, QuerySet

from accounts.clock import database_now, later
from accounts.models import Project
from ledger.models import Sweep
from ledger.outages import STEP_SECS

AHEAD = timedelta(seconds=STEP_SECS)
SLACK_SECS = 10.0  # a job may wait that long behind others before anybody need look


def interval(name: str) -> float | None:
    """Seconds between two runs of a job, if it is on the schedule."""
    entry = settings.CELERY_BEAT_SCHEDULE.get(name)
    return float(entry["schedule"]) if entry else None


def timed(rows: QuerySet[Sweep]) -> QuerySet[Any]:
    """The rows with `silent_for`: how long ago each last finished."""
    silent = ExpressionWrapper(database_now() - F("finished_at"), output_field=DurationField())
    return rows.annotate(silent_for=silent)


def of_sweep(sweep: Any) -> tuple[str, str]:
    """A word and a tone for a job from `timed`."""
    every = interval(sweep.name)
    if sweep.error:
        return "failing", "bad"
    if every is None:
        return "not scheduled", ""
    patience = timedelta(seconds=2 * every + SLACK_SECS)
    if sweep.finished_at is not None and sweep.silent_for < -AHEAD:
        return "last ran in the future: the clock was set back", "bad"
    if sweep.finished_at is None:
        # In a house as young as this it has not been due yet.
        return ("never finished", "bad") if _is_older_than(patience) else ("not yet due", "")
    return ("late", "bad") if sweep.silent_for > patience else ("on time", "good")


def _is_older_than(age: timedelta) -> bool:
    """Whether this Wardroom, which begins with its first project, is."""
    return Project.objects.filter(created_at__lt=later(-age.total_seconds())).exists()


def sweeps() -> list[dict[str, Any]]:
    """Every job of the schedule, run or not: `{title, every, word, tone, finished_at}`."""
    known = {sweep.name: sweep for sweep in timed(Sweep.objects.all())}
    found = []
    for name in sorted({*settings.CELERY_BEAT_SCHEDULE, *known}):
        sweep = known.get(name) or Sweep(name=name)
        word, tone = of_sweep(sweep)
        title = name.removesuffix("_sweep").replace("_", " ")
        told = {"title": title, "every": interval(name), "word": word, "tone": tone}
        found.append({**told, "finished_at": sweep.finished_at})
    return found


def is_uuid(text: str) -> bool:
    """Whether it is a UUID as we write them."""
    try:
        return str(UUID(text)) == text.lower()
    except ValueError:
        return False
