"""Periodic jobs: the time and the result of each last run."""

from __future__ import annotations

import logging
from collections.abc import Callable
from datetime import datetime

from core.db.clock import database_now, read_database_clock
from ledger import outages, sweep_batch
from ledger.models import Sweep

log = logging.getLogger(__name__)


def run(name: str, job: Callable[[datetime], int]) -> int:
    """Run one sweep and record it. Several copies at once are safe, because every sweep's writes are guarded.

    The job uses one moment, which is read before the sign of life is left. So a clock that is set forward is
    either recorded as an outage before the job reads any row, or comes after the moment and is seen by the next run.
    """
    moment = read_database_clock()
    outages.note_life()
    # The row is not read: a moment that Python cannot read would stop this job for ever.
    if not Sweep.objects.filter(pk=name).update(started_at=database_now()):
        Sweep.objects.bulk_create([Sweep(name=name, started_at=database_now())], ignore_conflicts=True)
    try:
        did = job(moment)
    except Exception as error:
        Sweep.objects.filter(pk=name).update(error=sweep_batch.storable(f"{type(error).__name__}: {error}")[:2000])
        raise
    Sweep.objects.filter(pk=name).update(finished_at=database_now(), did=did, error="")
    if did:
        log.info("%s: %d", name, did)
    return did
