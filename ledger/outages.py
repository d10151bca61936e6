"""Outages of Wardroom itself, and changes of the wall clock: during these no clock of a child runs.

Every sweep leaves a sign of life, and another kind of sign when it sees a live web process. A gap of over
`outage_gap_secs` between two signs of one kind is an outage: Wardroom was down, its machine was suspended, or the clock
was set forward. These cases look the same, and are treated alike. A sign of life in the future means that the clock was
set back. After either one every grace and idle clock restarts; the seconds of an outage do not count for a total.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Sequence
from datetime import datetime

from django.db.models import Max, Q

from core.db.clock import database_now, later, read_database_clock
from core.limits import LIMITS
from ledger import unit_of_work
from ledger.models import Downtime, Outage

SWEEPS, HEARTBEATS = "sweeps", "heartbeats"
#: A moment further in the future was written before the clock was set back. Two statements may differ by less.
STEP_SECS = 5.0
#: The most outages that are read. With more, the oldest are not credited.
MOST_SPANS = 1000

Span = tuple[datetime, datetime]
log = logging.getLogger(__name__)


def note_life(name: str = SWEEPS) -> None:
    """Leave a sign of life. Detect the end of an outage after a gap, and a clock that was set back.

    Each comparison is one statement in the database: a process that is suspended between two lines of this must not
    take its own pause for a step of the clock.
    """
    own = Outage.objects.filter(name=name)
    seen = own.filter(Q(seen_at=None) | Q(seen_at__range=_usual())).update(seen_at=database_now())
    if not seen and not own.exists():
        Outage.objects.bulk_create([Outage(name=name, seen_at=database_now())], ignore_conflicts=True)
    elif not seen:
        _end_gap(name)
        _note_step_back(name)


def _usual() -> tuple[object, object]:
    return later(-LIMITS.outage_gap_secs), later(STEP_SECS)


def _end_gap(name: str) -> None:
    """End the gap. If several workers see it, one ends it; the others wait for its COMMIT, so they know of it too."""
    silent = Outage.objects.filter(name=name, seen_at__lt=_usual()[0])
    with unit_of_work.transaction():
        row = silent.select_for_update().first()
        if row is None or row.seen_at is None:
            return
        moment = read_database_clock()
        away = (moment - row.seen_at).total_seconds()
        Outage.objects.filter(pk=name).update(seen_at=moment, ended_at=moment, lasted_secs=away)
        Downtime.objects.create(began_at=row.seen_at, ended_at=moment)
    log.warning("no %s for %.0f s: every grace and idle clock restarts", name, away)


def _note_step_back(name: str) -> None:
    """Move all stored moments out of the future after a step back. Otherwise they would stop every clock."""
    ahead = Outage.objects.filter(name=name, seen_at__gt=_usual()[1])
    with unit_of_work.transaction():
        # The moment itself is not read: a database may store moments after the year 9999, and Python cannot.
        if ahead.select_for_update().values_list("pk").first() is None:
            return
        moment = read_database_clock()
        Outage.objects.filter(ended_at__gt=moment).update(ended_at=moment)
        Outage.objects.filter(pk=name).update(seen_at=moment, ended_at=moment, lasted_secs=0)
        Downtime.objects.filter(began_at__gte=moment).delete()
        Downtime.objects.filter(ended_at__gt=moment).update(ended_at=moment)
    log.warning("the clock was set back: every grace and idle clock restarts")


def silent_now(name: str) -> bool:
    """True if this sign of life has been missing for over 30 s, or never came. Then no session may end by it."""
    return not Outage.objects.filter(name=name, seen_at__range=_usual()).exists()


def ended_at() -> datetime | None:
    """Return the end of the latest outage of Wardroom itself, or None."""
    latest: datetime | None = Outage.objects.aggregate(latest=Max("ended_at"))["latest"]
    return latest


def just_back(secs: float, moment: datetime | None = None) -> bool:
    """True if an outage of Wardroom itself ended less than `secs` ago. Then every grace has restarted."""
    return Outage.objects.filter(ended_at__gte=later(-secs, moment)).exists()


def spans() -> list[Span]:
    """Return the outages, oldest first. They do not overlap, even if two kinds of signs were missing."""
    newest = Downtime.objects.order_by("-ended_at").values_list("began_at", "ended_at")[:MOST_SPANS]
    return merged(newest)


def merged(found: Iterable[Span]) -> list[Span]:
    """Merge overlapping spans. Return them oldest first."""
    apart: list[Span] = []
    for began, ended in sorted(found):
        if apart and began <= apart[-1][1]:
            apart[-1] = (apart[-1][0], max(ended, apart[-1][1]))
        else:
            apart.append((began, ended))
    return apart


def overlap_secs(found: Sequence[Span], began: datetime, ended: datetime) -> float:
    """Return the seconds between two moments that lie in these spans, which must not overlap."""
    shared = (min(ended, until) - max(began, since) for since, until in found)
    return sum(max(0.0, both.total_seconds()) for both in shared)
