"""Call the completion handlers of installed packages (entry point `wardroom.completion`) for each ended attempt.

A handler is a function of one argument, `{parent, child, attempt, status, error, result, completed_at}`. The outbox has
one row for each handler and attempt, written by the transaction that ends the session. A worker calls the handler after
the commit. A handler that raises is called again later, and stops nothing else. A worker that dies in the middle of a
call leaves the row: then the handler is called once more.
"""

from __future__ import annotations

import functools
import logging
from collections.abc import Callable, Mapping
from importlib import metadata as packages
from typing import Any

from core.db.clock import database_now, later
from core.display.text import shortened
from ledger import unit_of_work
from ledger.models import OutboxEntry
from orchestration.models import Session
from orchestration.sessions import dispatch

GROUP = "wardroom.completion"
KIND = "completion"
TASK = "orchestration.call_completion_handler"
#: A handler has this long, and is killed after the second number: workers also launch children.
SOFT_SECS, HARD_SECS = 20, 30
#: A call that has not ended after this many seconds has lost its worker.
CALL_SECS = 60.0
#: A task that the sweep has sent has this long to be taken, before the sweep sends another one.
TAKE_SECS = 20.0
#: Longer than TAKE_SECS, so that a late task does not shorten a pause.
FIRST_PAUSE_SECS, LONGEST_PAUSE_SECS = 30.0, 3600.0
ERROR_CHARACTERS = 500
log = logging.getLogger(__name__)

Handler = Callable[[dict[str, Any]], object]


@functools.cache
def installed() -> Mapping[str, packages.EntryPoint]:
    """Return the entry points of the handlers by name."""
    return {point.name: point for point in packages.entry_points(group=GROUP)}


def enqueue(session: Session, attempt: int, facts: Mapping[str, Any]) -> None:
    """Record that each handler must be called. Requires the transaction that ends the session."""
    for name in installed():
        # Cut at its end: the name of a handler has no bound, and each end needs a key of its own.
        key = f"{KIND}:{session.pk}:{attempt}:{name}"[:200]
        unit_of_work.outbox(session.project_id, KIND, key, {"handler": name, "completion": dict(facts)})
        unit_of_work.after_commit(functools.partial(dispatch.publish, TASK, key))


def call(key: str) -> bool:
    """Call the handler of one row. Return False when it is called elsewhere, was called, or failed."""
    due = OutboxEntry.objects.filter(key=key, kind=KIND, sent_at=None, due_at__lte=later(TAKE_SECS))
    if not due.update(due_at=later(CALL_SECS)):
        return False
    entry = OutboxEntry.objects.get(key=key)
    rows = OutboxEntry.objects.filter(pk=entry.pk)
    try:
        name = entry.payload["handler"]
        if name not in installed():
            raise LookupError(f"no installed package has a completion handler {name!r}")
        handler: Handler = installed()[name].load()
        handler(entry.payload["completion"])
    except (Exception, SystemExit) as error:
        pause = min(FIRST_PAUSE_SECS * 2 ** min(entry.tries, 20), LONGEST_PAUSE_SECS)
        log.exception("%s failed; it is called again in %g s", key, pause)
        told = shortened(f"{type(error).__name__}: {error}", ERROR_CHARACTERS)
        rows.update(due_at=later(pause), tries=entry.tries + 1, last_error=told)
        return False
    rows.update(sent_at=database_now(), tries=entry.tries + 1, last_error="")
    return True


def sweep(limit: int = 100) -> int:
    """Send a task for each row that is due, and return their number."""
    due = OutboxEntry.objects.filter(kind=KIND, sent_at=None, due_at__lt=later(-5)).order_by("due_at")
    sent = 0
    # No row can fail here: the task only names it, and records the failure of its handler on the row.
    for key in due.values_list("key", flat=True)[:limit]:
        if due.order_by().filter(key=key).update(due_at=later(TAKE_SECS)):
            sent += dispatch.publish(TASK, key) == ""
    return sent
