"""Beat jobs: when each last ran, and whether Wardroom itself was away meanwhile."""

from __future__ import annotations

import logging
from collections.abc import Callable
from datetime import datetime

from django.conf import settings
from django.db.models import Max, Q

from accounts.clock import database_now, later, read_database_clock
from ledger.models import Outage, Sweep

SWEEPS, HEARTBEATS = "sweeps", "heartbeats"
log = logging.getLogger(__name__)


def run(name: str, job: Callable[[], int], *, now: datetime | None = None) -> int:
    """Run one sweep and record it. Several copies at once are safe, because every sweep's writes are guarded.

    Life is noted *before* the job looks at any clock, so that the first sweep after an outage already knows of it.
    """
    note_life(now=now)
    Sweep.objects.update_or_create(pk=name, defaults={"started_at": database_now(now)})
    try:
        did = job()
    except Exception as error:
        Sweep.objects.filter(pk=name).update(error=f"{type(error).__name__}: {error}"[:2000])
        raise
    Sweep.objects.filter(pk=name).update(finished_at=database_now(now), did=did, error="")
    if did:
        log.info("%s: %d", name, did)
    return did


def note_life(name: str = SWEEPS, *, now: datetime | None = None) -> None:
    """A sign of life; after a gap of over 30 s it is also the end of an outage."""
    gap = settings.WARDROOM["outage_gap_secs"]
    Outage.objects.bulk_create([Outage(name=name)], ignore_conflicts=True)
    moment = read_database_clock(now)
    silent = Outage.objects.filter(name=name, seen_at__lt=later(-gap, now))
    row = silent.first()
    if row and row.seen_at:
        away = (moment - row.seen_at).total_seconds()
        if silent.update(ended_at=moment, lasted_secs=away, seen_at=moment):
            log.warning("no %s for %.0f s: every grace and idle clock starts anew", name, away)
    Outage.objects.filter(Q(seen_at=None) | Q(seen_at__lt=moment), name=name).update(seen_at=moment)


def silent_now(name: str, *, now: datetime | None = None) -> bool:
    """Whether this kind of life has been missing for over 30 s, or was never seen: then nobody may be judged by it."""
    gap = settings.WARDROOM["outage_gap_secs"]
    return not Outage.objects.filter(name=name, seen_at__gte=later(-gap, now)).exists()


def outage_ended_at() -> datetime | None:
    """When the latest outage of Wardroom itself ended, if there was one."""
    latest: datetime | None = Outage.objects.aggregate(latest=Max("ended_at"))["latest"]
    return latest
