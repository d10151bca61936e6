"""A worker that hears nothing and a beat that is stuck end themselves, and are started again."""

import signal
import subprocess
import sys
from datetime import UTC, datetime

import pytest
from django.conf import settings

from config.celery import app
from config.defaults import JOBS
from config.pulse import Pulse, WatchedScheduler
from tests.ops.embedded import Embedded
from tests.waiting import wait_until

SILENT = "from config.pulse import Pulse; Pulse('nothing heard', 0.3).watch(); import signal; signal.pause()"
BUSY = """
import threading, time
from config.pulse import Pulse
pulse = Pulse('nothing heard', 2.0)
pulse.watch()
for _ in range(40):
    pulse.beat()
    threading.Event().wait(0.1)
"""


def test_a_process_without_a_sign_of_work_kills_itself():
    ended = subprocess.run([sys.executable, "-c", SILENT], capture_output=True, text=True, timeout=20)
    assert ended.returncode == -signal.SIGKILL
    assert "nothing heard for 0 s: ending this process" in ended.stderr


def test_a_process_with_signs_of_work_goes_on():
    ended = subprocess.run([sys.executable, "-c", BUSY], capture_output=True, text=True, timeout=20)
    assert ended.returncode == 0


@pytest.mark.stack
@pytest.mark.usefixtures("only_embedded")
def test_a_worker_that_is_given_no_task_is_started_again_and_hears_again():
    with Embedded(timings={"worker_deaf_secs": 6, "sweep_secs": 1}) as house:
        house.start()
        worker, beat = house.part("worker"), house.kill("beat", signal.SIGSTOP)
        wait_until(lambda: house.part("worker") not in (0, worker), 25)
        assert "this worker was given no task for 6 s" in house.said()
        house.kill("beat", signal.SIGCONT)
        assert house.part("beat") == beat


def test_beat_sends_what_is_due_by_the_monotonic_clock_whatever_the_wall_clock_says():
    scheduler = Watched(app)
    wall = [datetime(2026, 1, 1, tzinfo=UTC), datetime(2025, 1, 1, tzinfo=UTC), datetime(2027, 1, 1, tzinfo=UTC)]
    for entry in scheduler.schedule.values():
        entry.default_now = lambda: wall[len(scheduler.sent) % 3]
    while (wait := scheduler.tick()) == 0:
        pass
    assert sorted(scheduler.sent) == sorted(settings.CELERY_BEAT_SCHEDULE), "each job once at the start"
    assert 0 < wait <= 5
    scheduler.pass_secs(5.1)
    scheduler.sent.clear()
    while scheduler.tick() == 0:
        pass
    assert sorted(scheduler.sent) == sorted(name for name, setting in JOBS.items() if setting == "sweep_secs")


class Watched(WatchedScheduler):
    """A beat that keeps what it would send; time passes for it when it is told so."""

    def setup_schedule(self):
        super().setup_schedule()
        self.pulse = Pulse("nothing", 60)
        self.sent = []

    def apply_entry(self, entry, producer=None):
        self.sent.append(entry.name)

    def pass_secs(self, secs):
        self._due = {name: due - secs for name, due in self._due.items()}
