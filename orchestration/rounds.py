"""One round of a sweeper: over all that it found, and not while an outage of our own may be the cause."""

import logging
import time
from collections.abc import Callable, Iterable
from datetime import datetime
from typing import TypeVar

from accounts.clock import later
from ledger.models import Outage

Found = TypeVar("Found")
#: Well below the time limit of a task.
ROUND_SECS = 30.0
log = logging.getLogger(__name__)


def each(found: Iterable[Found], act: Callable[[Found], bool]) -> int:
    """Act on each; how many were changed. One that fails does not keep the rest waiting: the first error is raised
    when all have had their turn, so that the sweep's record shows it. What does not fit into the round's time is left
    to the next one.
    """
    changed, trouble, until = 0, None, time.monotonic() + ROUND_SECS
    for one in found:
        if time.monotonic() > until:
            break
        try:
            changed += bool(act(one))
        except Exception as error:
            log.exception("sweep failed on %s", one)
            trouble = trouble or error
    if trouble:
        raise trouble
    return changed


def just_back(secs: float, *, now: datetime | None = None) -> bool:
    """Whether an outage of Wardroom itself ended less than `secs` ago: then every grace has started anew."""
    return Outage.objects.filter(ended_at__gte=later(-secs, now)).exists()
