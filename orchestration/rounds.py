"""One round of a sweeper: over all that it found."""

import logging
import time
from collections.abc import Callable, Iterable
from typing import TypeVar

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
