"""Claim queued attempts for this host."""

from __future__ import annotations

import dataclasses
import logging
import os
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any
from uuid import UUID

from django.db.models import Count, F, Window
from django.db.models.functions import RowNumber

from core.display.redaction import redacted
from ledger.sweep_batch import storable
from orchestration.models import Attempt
from orchestration.runners import process
from orchestration.sessions import launch, lifecycle
from orchestration.states import Status

log = logging.getLogger(__name__)

#: Rows beyond the free places that one look reads: a row that cannot be claimed must not hide the next one.
SPARE = 50


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Claimed:
    """An attempt that this host runs."""

    runner: str
    session: str
    attempt: int
    token: str = dataclasses.field(repr=False)
    metadata: Mapping[str, Any]
    workspace: Path

    def __str__(self) -> str:
        return f"{self.session}/{self.attempt} ({self.runner})"


def this_host() -> str:
    """Return the name of this host process, as attempts store it."""
    return f"{process.this_host()}:{os.getpid()}"


def claim(names: Collection[str], most: int) -> list[Claimed]:
    """Claim up to `most` queued attempts of these runners. Other hosts claim the same queue.

    Within a project the oldest comes first. Across projects the one with the fewest jobs that run comes first, so a
    project with a long queue delays another one by one job.
    """
    queued = Attempt.objects.filter(
        status=Status.QUEUED,
        number=F("session__attempt"),
        session__runner__in=sorted(names),
        session__cancel_requested_at=None,
    )
    oldest_first = Window(RowNumber(), partition_by="session__project", order_by=["created_at", "pk"])
    heads = queued.annotate(place=oldest_first).filter(place__lte=most + SPARE)
    active = Attempt.objects.filter(status__in=[Status.STARTING, Status.RUNNING], session__runner__in=sorted(names))
    per_project = active.order_by().values_list("session__project").annotate(Count("pk"))
    running = dict(per_project)
    ranked = sorted(
        heads.values_list("session__project", "place", "created_at", "session_id", "number"),
        key=lambda head: (running.get(head[0], 0) + head[1], head[2]),
    )
    found: list[Claimed] = []
    for _, _, _, session_id, number in ranked[: most + SPARE]:
        if len(found) >= most:
            break
        try:
            claimed = _claim(session_id, number)
        except Exception:
            # The attempts before it are claimed: nobody else runs them.
            log.exception("%s/%s could not be claimed", session_id, number)
            continue
        if claimed is not None:
            found.append(claimed)
    return found


def _claim(session_id: UUID, number: int) -> Claimed | None:
    claimed = launch.claim(session_id, number, this_host())
    if claimed is None:
        return None
    session, token = claimed
    try:
        workspace = process.working_folder(session_id)
    except OSError as problem:
        log.exception("%s/%s has no working folder", session_id, number)
        lifecycle.finish(session_id, number, Status.ERROR, error=storable(redacted(str(problem))), kill_in=0)
        return None
    return Claimed(
        runner=session.runner,
        session=str(session_id),
        attempt=number,
        token=token,
        metadata=dict(session.metadata),
        workspace=workspace,
    )
