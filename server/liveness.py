"""A worker or a beat that still runs but does nothing any more ends itself, so that its supervisor starts it again.

It happens: a consumer that came through a lost broker connection sometimes listens to nobody. (Sometimes kombu fails
while it gives back what it held; then the worker ends at once, with status 1, and its supervisor starts it again.)
Beat sends several jobs a minute, so a worker that gets none for two minutes is deaf (or beat is gone, and then a
restart costs nothing); a beat that has not gone round for a minute is stuck. All of it is measured with the monotonic
clock, which no step of the wall clock moves and which stands still while the machine is suspended.
"""

import logging
import os
import signal
import threading
import time
from typing import Any

from celery import signals
from celery.beat import Scheduler
from django.conf import settings

log = logging.getLogger(__name__)


class Pulse:
    """The age of the latest sign of work, and a thread that kills this process when it grows too old."""

    def __init__(self, what: str, limit_secs: float) -> None:
        self.what = what
        self.limit_secs = limit_secs
        self.latest = time.monotonic()

    def beat(self, *args: Any, **kwargs: Any) -> None:
        self.latest = time.monotonic()

    def watch(self) -> None:
        threading.Thread(target=self._watch, name="pulse", daemon=True).start()

    def _watch(self) -> None:
        while (age := time.monotonic() - self.latest) < self.limit_secs:
            time.sleep(min(5.0, self.limit_secs - age))
        log.critical("%s for %.0f s: ending this process, to be started again", self.what, self.limit_secs)
        # Not a clean exit: that would wait for the very loop that is stuck. What it held is delivered again.
        os.kill(os.getpid(), signal.SIGKILL)


class WatchedScheduler(Scheduler):
    """Beat by the monotonic clock, without a file, because a static schedule needs none.

    Celery's own beat compares wall-clock times: after a step back it sends nothing until the clock has caught up. Each
    round is a sign of life.
    """

    pulse: Pulse | None = None

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        self._due: dict[str, float] = {}
        super().__init__(*args, **kwargs)

    def install_default_entries(self, data: Any) -> None:
        """None: there is no store of results to clean."""

    def tick(self, *args: Any, **kwargs: Any) -> float:
        """Send the job that is due first, if any; the seconds until the next one. Every job is due at the start.

        One job a round: a broker that hangs keeps each send waiting, and every round has to be a sign of life.
        """
        if self.pulse is None:
            self.pulse = Pulse("beat has not gone round", settings.WARDROOM["beat_stuck_secs"])
            self.pulse.watch()
        self.pulse.beat()
        now = time.monotonic()
        waits = {name: self._due.get(name, now) - now for name in self.schedule}
        first = min(waits, key=lambda name: waits[name], default=None)
        if first is None or waits[first] > 0:
            return min([float(self.max_interval or 1), *waits.values()])
        entry: Any = self.schedule[first]
        self._due[first] = now + entry.schedule.run_every.total_seconds()
        self.apply_entry(entry, producer=self.producer)
        return 0.0


def watch_worker(**_: Any) -> None:
    """Begin to watch this worker's main process; runs when it is about to start."""
    pulse = Pulse("this worker was given no task", settings.WARDROOM["worker_deaf_secs"])
    signals.task_received.connect(pulse.beat, weak=False)
    pulse.watch()


signals.worker_init.connect(watch_worker, weak=False)
