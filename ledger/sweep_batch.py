"""One kind of work of a sweep over many rows: each row independently, so that a bad one does not stop the others.

A row that cannot be processed is left, counted and named: on the front page, in `/readyz`, in the log. It is retried
after all others, so that failing rows never fill a batch. Its record is deleted once the row is processed or gone.

The brake is for work that ends sessions: if one sweep would end too many, it waits for the next sweep to
confirm.
"""

from __future__ import annotations

import dataclasses
import logging
import time
from collections.abc import Callable, Iterable, Sequence
from datetime import datetime, timedelta
from typing import TypeVar

from django.db import InterfaceError, OperationalError, connection
from django.db.models import Count, QuerySet

from core.db.clock import database_now
from core.limits import LIMITS
from ledger.models import SkippedRow, Why

Found = TypeVar("Found")
#: Well below the time limit of a task.
ROUND_SECS = 30.0
#: The most failed rows that one round retries.
RETRIES = 100
#: The most rows that a line of the log names.
NAMED = 20
log = logging.getLogger(__name__)


@dataclasses.dataclass(frozen=True, slots=True)
class Work:
    """One kind of work: `sweep` is the job on the schedule, `name` distinguishes it from the job's other work."""

    sweep: str
    name: str

    def skipped(self, why: Why) -> QuerySet[SkippedRow]:
        """Return the rows that this work left."""
        return SkippedRow.objects.filter(sweep=self.sweep, work=self.name, why=why)

    def __str__(self) -> str:
        return f"{self.sweep} ({self.name})"


def each(
    work: Work,
    find: Callable[[int], Iterable[Found]],
    act: Callable[[Found], int],
    *,
    limit: int | None = None,
    finds_all: bool = True,
) -> int:
    """Act on each row that `find` returns, at most `limit`. Return the sum of the results of `act`.

    `find` is called with the most rows that it may return, in their order. The number is above `limit`, because rows
    that failed before come in addition. `act` may be called for a row that needs nothing any more. Rows beyond the
    round's time are left to the next round. If `find` finds all rows (up to the number), records of rows that it no
    longer finds are deleted. Raises the errors of `find`, and the error of a database that is away.
    """
    failed_before = dict(work.skipped(Why.FAILED).order_by("tried_at").values_list("row", "times"))
    most = 2**31 - 1 if limit is None else limit + len(failed_before)
    rows = {name_of(row): row for row in find(most)}
    fresh = [row for name, row in rows.items() if name not in failed_before][:limit]
    again = [rows[name] for name in failed_before if name in rows][:RETRIES]
    over = failed_before.keys() - rows.keys() if finds_all and len(rows) < most else set[str]()
    total, trouble, until = 0, dict[str, Exception](), time.monotonic() + ROUND_SECS
    for row in [*fresh, *again]:
        if time.monotonic() > until:
            break
        try:
            total += act(row)
            over.add(name_of(row))
        except Exception as error:
            if isinstance(error, InterfaceError | OperationalError) and not connection.is_usable():
                raise
            trouble[name_of(row)] = error
    _note(work, trouble, failed_before)
    if finished := sorted(over & failed_before.keys()):
        work.skipped(Why.FAILED).filter(row__in=finished).delete()
        log.info("%s: processed after all, or gone: %s", work, _named(finished))
    return total


def in_bulk(work: Work, rows: Sequence[Found], act: Callable[[Sequence[Found]], int]) -> int:
    """Act on all of these rows at once or, if that fails, on each alone. Return the sum of the results of `act`."""
    try:
        return act(rows)
    except Exception:
        log.warning("%s: %d rows could not be done at once, and are done one by one", work, len(rows))
    return each(work, lambda most: rows, lambda row: act([row]), finds_all=False)


def forget_untried(work: Work, since: datetime) -> None:
    """Delete the records of rows that were not tried since then: a whole round no longer found them."""
    work.skipped(Why.FAILED).filter(tried_at__lt=since).delete()


def name_of(row: object) -> str:
    """Return the name of a row in the log and in its record."""
    return storable(" ".join(map(str, row)) if isinstance(row, tuple) else str(row))[:300]


def storable(text: str) -> str:
    """Return the text with characters escaped that a database may refuse: an error text may contain anything."""
    return text.encode("utf-8", "backslashreplace").decode().replace("\0", "\\0")


def _note(work: Work, trouble: dict[str, Exception], before: dict[str, int]) -> None:
    if not trouble:
        return
    for name, error in trouble.items():
        if name not in before:
            log.error("%s: %s cannot be processed", work, name, exc_info=error)
    SkippedRow.objects.bulk_create(
        [
            SkippedRow(
                sweep=work.sweep,
                work=work.name,
                row=name,
                why=Why.FAILED,
                error=storable(f"{type(error).__name__}: {error}")[:2000],
                # A lock timeout may be another transaction's fault. If it fails again, the row is at fault.
                times=before.get(name, -1 if isinstance(error, OperationalError) else 0) + 1,
                tried_at=database_now(),
            )
            for name, error in trouble.items()
        ],
        update_conflicts=True,
        unique_fields=["sweep", "work", "row", "why"],
        update_fields=["error", "times", "tried_at"],
    )
    log.warning("%s: %d rows cannot be processed: %s", work, len(trouble), _named(trouble))


def _named(names: Iterable[str]) -> str:
    found = list(names)
    return ", ".join(found[:NAMED]) + (", ..." if len(found) > NAMED else "")


def brake(work: Work, rows: Sequence[Found], of: int, *, moment: datetime) -> list[Found]:
    """Return the rows that this sweep may act on, where each act ends a session: all of them, unless they are too many.

    Too many are more than a tenth of the `of` running sessions, and more than `brake_floor`. They are held back until a
    later sweep finds the same rows: a clock that was wrong for a moment is then right again.
    """
    most = max(LIMITS.brake_floor, of // 10)
    held = dict(work.skipped(Why.HELD).filter(since__lte=moment).values_list("row", "since"))
    agreed_since = moment - timedelta(seconds=LIMITS.sweep_secs / 2)
    agreed = {name for name, since in held.items() if since <= agreed_since}
    # Rows that could not be processed before end nothing now. Counted, they would hold the others back each time.
    agreed |= set(work.skipped(Why.FAILED).values_list("row", flat=True))
    waiting = [name for name in map(name_of, rows) if name not in agreed]
    if len(waiting) <= most:
        work.skipped(Why.HELD).delete()
        return list(rows)
    work.skipped(Why.HELD).exclude(row__in=[name for name in waiting if name in held]).delete()
    SkippedRow.objects.bulk_create(
        [
            SkippedRow(sweep=work.sweep, work=work.name, row=name, why=Why.HELD, times=1, since=moment)
            for name in waiting
            if name not in held
        ],
        ignore_conflicts=True,
    )
    log.error("%s: %d of %d sessions would end at once: held back until a later sweep agrees", work, len(waiting), of)
    return [row for row in rows if name_of(row) in agreed]


def counts() -> dict[str, dict[str, int]]:
    """Count the rows that each sweep left: why -> sweep -> number. A single failure is not counted: the database may be
    at fault.
    """
    found: dict[str, dict[str, int]] = {}
    rows = SkippedRow.objects.filter(times__gt=0).order_by().values_list("why", "sweep").annotate(Count("pk"))
    for why, sweep, number in rows:
        found.setdefault(why, {})[sweep] = number
    return found
