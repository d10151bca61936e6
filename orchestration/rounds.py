"""One round of a sweeper: over all that it found, and not while an outage of our own may be the cause."""

import logging
from collections.abc import Callable, Iterable
from datetime import datetime
from typing import TypeVar

from accounts.clock import later
from ledger.models import Outage

Found = TypeVar("Found")
log = logging.getLogger(__name__)


def each(found: Iterable[Found], act: Callable[[Found], bool]) -> int:
    """Act on each; how many were changed. One that fails does not keep the rest waiting: the first error is raised
    when all have had their turn, so that the sweep's record shows it.
    """
    changed, trouble = 0, None
    for one in found:
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
