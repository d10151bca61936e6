"""End a worker or a beat that runs but does no work, so that the process manager restarts it.

This happens: after a lost broker connection a consumer sometimes receives nothing. (Sometimes kombu fails while it
returns its messages. Then the worker ends at once with status 1 and is restarted.) Beat sends several jobs a minute, so
a worker without a job for two minutes is deaf, or beat is gone, and then a restart costs nothing. A beat without a
round for a minute is stuck. The monotonic clock measures all of it: no step of the wall clock moves it, and it stands
still while the machine is suspended.
"""

import logging
import os
import signal
import threading
import time
from typing import Any

from celery import signals
from celery.beat import Scheduler, SchedulingError

from core.display.broker_lines import is_away
from core.limits import LIMITS

log = logging.getLogger(__name__)


class Liveness:
    """The age of the latest sign of work, and a thread that kills this process when it is too old."""

    def __init__(self, what: str, limit_secs: float) -> None:
        self.what = what
        self.limit_secs = limit_secs
        self.latest = time.monotonic()

    def beat(self, *args: Any, **kwargs: Any) -> None:
        self.latest = time.monotonic()

    def watch(self) -> None:
        """Start the thread."""

        def watch() -> None:
            while (age := time.monotonic() - self.latest) < self.limit_secs:
                time.sleep(min(5.0, self.limit_secs - age))
            log.critical("%s for %.0f s: ending this process so that it is restarted", self.what, self.limit_secs)
            # Not a clean exit: that would wait for the stuck loop. The broker delivers its messages again.
            os.kill(os.getpid(), signal.SIGKILL)

        threading.Thread(target=watch, name="liveness", daemon=True).start()


class WatchedScheduler(Scheduler):
    """Beat by the monotonic clock, without a file, because a static schedule needs none.

    Celery's own beat compares wall-clock times: after a step back it sends nothing until the clock has caught up. Each
    round is a sign of life.
    """

    liveness: Liveness | None = None
    is_broker_away = False

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        self._due: dict[str, float] = {}
        super().__init__(*args, **kwargs)

    def install_default_entries(self, data: Any) -> None:
        """Install none: there is no result store to clean."""

    def tick(self, *args: Any, **kwargs: Any) -> float:
        """Send the job that is due first, if any. Return the seconds until the next one. Every job is due at the start.

        One job a round: a hanging broker delays each send, and every round must be a sign of life.
        """
        if self.liveness is None:
            self.liveness = Liveness("beat has run no round", LIMITS.beat_stuck_secs)
            self.liveness.watch()
        self.liveness.beat()
        now = time.monotonic()
        waits = {name: self._due.get(name, now) - now for name in self.schedule}
        first = min(waits, key=lambda name: waits[name], default=None)
        if first is None or waits[first] > 0:
            return min([float(self.max_interval or 1), *waits.values()])
        entry: Any = self.schedule[first]
        self._due[first] = now + entry.schedule.run_every.total_seconds()
        self.apply_entry(entry, producer=self.producer)
        return 0.0

    def apply_entry(self, entry: Any, producer: Any = None) -> None:
        """Send one job. A broker that is away is one line in the log, and its return another.

        Celery logs the stack and the traceback of each job. That would be hundreds of lines a second.
        """
        try:
            self.apply_async(entry, producer=producer, advance=False)
        except SchedulingError as error:
            if not is_away(error.__context__):
                log.exception("the job %s could not be sent", entry.name)
            elif not self.is_broker_away:
                self.is_broker_away = True
                log.warning("the broker does not answer: no job is sent until it does (%s)", error.__context__)
        else:
            if self.is_broker_away:
                self.is_broker_away = False
                log.warning("the broker answers again: jobs are sent")


def watch_worker(**_: Any) -> None:
    """Start to watch this worker's main process. Runs just before it starts."""
    liveness = Liveness("this worker received no task", LIMITS.worker_deaf_secs)
    signals.task_received.connect(liveness.beat, weak=False)
    liveness.watch()


signals.worker_init.connect(watch_worker, weak=False)
