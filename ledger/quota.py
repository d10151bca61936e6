"""The quota of one session: the rows and bytes that it may store, over all of its attempts."""

from __future__ import annotations

from typing import Any
from uuid import UUID

import msgspec
from django.db.models import F

from core.limits import LIMITS
from core.web import problems
from ledger.models import Kept

RETRY_SECS = 3600


def keep(session: UUID, *values: Any, rows: int = 1) -> None:
    """Count the rows that a child of this session adds, and the size of these values. Raises 429 above the quota.

    Call it in the transaction that adds them. In the order of locks this row comes right after the session and its
    attempt, before approvals, subjects and addresses.
    """
    most_rows, most_bytes = LIMITS.session_kept_rows, LIMITS.session_kept_bytes
    size = sum(len(msgspec.json.encode(value)) for value in values)
    kept = Kept.objects.filter(pk=session)
    room = kept.filter(rows__lte=most_rows - rows, bytes__lte=most_bytes - size)
    if room.update(rows=F("rows") + rows, bytes=F("bytes") + size):
        return
    if not kept.exists():
        Kept.objects.bulk_create([Kept(session=session)], ignore_conflicts=True)
        if room.update(rows=F("rows") + rows, bytes=F("bytes") + size):
            return
    raise problems.too_many(
        f"This session has reached its quota of {most_rows} rows or {most_bytes} bytes; no more is stored.", RETRY_SECS
    )
