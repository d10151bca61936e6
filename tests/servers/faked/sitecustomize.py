"""For processes under libfaketime 0.9.10, which refuses the absolute monotonic sleep of Python's `time.sleep`."""

import threading
import time
from typing import Any


def sleep(secs: Any, /) -> None:
    threading.Event().wait(secs)


time.sleep = sleep
