"""Run one reviewer for the request on standard input: `python -m wardroom.reviewers NAME SECS`.

The verdict is all of standard output; what the reviewer prints goes to standard error. Status 3: the output says why
there is none.
"""

from __future__ import annotations

import json
import math
import os
import signal
import sys
from importlib import metadata as packages
from typing import NoReturn

from wardroom.reviewers import GROUP

FAULT = 3
#: The caller kills it at the deadline. If the caller is dead, this does, so much later.
SPARE_SECS = 1


def main() -> NoReturn:
    """Call the reviewer, and end this process."""
    name, secs = sys.argv[1], float(sys.argv[2])
    signal.alarm(math.ceil(secs) + SPARE_SECS)
    verdicts = os.fdopen(os.dup(1), "w", encoding="utf-8", errors="replace")
    os.dup2(2, 1)
    try:
        request = json.load(sys.stdin)
        found = [point for point in packages.entry_points(group=GROUP) if point.name == name]
        if not found:
            raise LookupError("no installed package has it")
        said = found[0].load()(request)
        if not isinstance(said, str):
            raise TypeError(f"it returned {type(said).__name__}, not a text")
        status = 0
    except Exception as error:
        said, status = f"it raised {type(error).__name__}: {error}"[:500], FAULT
    verdicts.write(said)
    verdicts.close()
    # A thread of the reviewer must not hold up the end.
    os._exit(status)


if __name__ == "__main__":
    main()
