"""A worker that hears nothing and a beat that is stuck end themselves, and are started again."""

import logging
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import redis

from core.display.redaction import LineFormatter
from tests.servers import Valkey
from tests.servers.embedded import Embedded
from tests.servers.embedded_houses import migrated_file
from tests.servers.wall_clock import WallClock
from tests.waiting import wait_until

pytestmark = pytest.mark.once

SILENT = "from server.liveness import Liveness; Liveness('nothing heard', 0.3).watch(); import signal; signal.pause()"
BUSY = """
import threading, time
from server.liveness import Liveness
liveness = Liveness('nothing heard', 2.0)
liveness.watch()
for _ in range(40):
    liveness.beat()
    threading.Event().wait(0.1)
"""


def test_a_process_without_a_sign_of_work_kills_itself() -> None:
    ended = subprocess.run([sys.executable, "-c", SILENT], capture_output=True, text=True, timeout=20)
    assert ended.returncode == -signal.SIGKILL
    assert "nothing heard for 0 s: ending this process" in ended.stderr


def test_a_process_with_signs_of_work_goes_on() -> None:
    ended = subprocess.run([sys.executable, "-c", BUSY], capture_output=True, text=True, timeout=20)
    assert ended.returncode == 0


@pytest.mark.stack
@pytest.mark.usefixtures("only_embedded")
def test_a_worker_that_is_given_no_task_is_started_again_and_hears_again() -> None:
    with Embedded(timings={"worker_deaf_secs": 6, "sweep_secs": 1}, migrated=migrated_file()) as house:
        house.start()
        worker, beat = house.part("worker"), house.kill("beat", signal.SIGSTOP)
        wait_until(lambda: house.part("worker") not in (0, worker), 25)
        assert "this worker received no task for 6 s" in house.said()
        house.kill("beat", signal.SIGCONT)
        assert house.part("beat") == beat


BEAT = """
import time
import django
django.setup()
from config.celery import app
from server.liveness import WatchedScheduler

class Told(WatchedScheduler):
    def apply_entry(self, entry, producer=None):
        print(entry.name, flush=True)

app.conf.beat_schedule = {"quick": {"task": "x", "schedule": 0.1}, "slow": {"task": "x", "schedule": 3600.0}}
beat = Told(app)
while True:
    time.sleep(beat.tick())
"""


@pytest.mark.parametrize("step", [-120, -3600, 7200])
def test_beat_sends_on_whatever_is_done_to_the_wall_clock(tmp_path: Path, step: int) -> None:
    clock, out = WallClock(tmp_path / "clock"), tmp_path / "sent"
    with (
        out.open("w") as sent,
        subprocess.Popen([sys.executable, "-c", BEAT], stdout=sent, env=os.environ | clock.environment) as beat,
    ):
        try:
            wait_until(lambda: out.read_text().count("quick") > 3, 60)
            clock.set(step)
            # The library looks at the file once a second; by then the new time is known.
            so_far = out.read_text().count("quick")
            wait_until(lambda: out.read_text().count("quick") > so_far + 30, 60)
        finally:
            beat.kill()
    assert out.read_text().count("slow") == 1, "a job is sent no sooner either"


AWAY = """
import time
import django
django.setup()
from config.celery import app
from server.liveness import WatchedScheduler

app.conf.beat_schedule = {str(number): {"task": "x", "schedule": 0.1} for number in range(5)}
beat = WatchedScheduler(app)
while True:
    time.sleep(beat.tick())
    print("round", flush=True)
"""


def test_beat_logs_a_lost_broker_in_one_line_and_its_return_in_another(tmp_path: Path) -> None:
    rounds, log, broker = tmp_path / "rounds", tmp_path / "log", Valkey()
    broker.start()
    environment = os.environ | {"BROKER_URL": broker.queue_url()}

    def some_more() -> None:
        so_far = rounds.read_text().count("round")
        wait_until(lambda: rounds.read_text().count("round") > so_far + 10, 60)

    with (
        rounds.open("w") as out,
        log.open("w") as err,
        subprocess.Popen([sys.executable, "-c", AWAY], stdout=out, stderr=err, env=environment) as beat,
    ):
        try:
            some_more()
            broker.kill()
            wait_until(lambda: "the broker does not answer" in log.read_text(), 60)
            some_more()
            broker.start()
            wait_until(lambda: "the broker answers again" in log.read_text(), 60)
            some_more()
        finally:
            beat.kill()
            broker.stop()
    lines = log.read_text().splitlines()
    assert [line.split(" server.liveness ")[1].partition(":")[0] for line in lines if "WARNING" in line] == [
        "the broker does not answer",
        "the broker answers again",
    ]
    assert "Traceback" not in log.read_text()


def test_a_line_of_celery_about_a_lost_broker_has_no_traceback_and_another_keeps_it() -> None:
    handler = next(each for each in logging.getLogger().handlers if isinstance(each.formatter, LineFormatter))

    def logged(name: str, error: Exception) -> Any:
        record = logging.LogRecord(name, logging.ERROR, "", 0, "it failed", None, (type(error), error, None))
        assert handler.filter(record)
        return record.exc_info

    lost = redis.ConnectionError("Connection refused")
    assert logged("celery.worker.request", lost) is None
    assert logged("celery.worker.request", ConnectionResetError()) is None
    assert logged("celery.app.trace", lost) is not None, "the failure of a task"
    assert logged("ledger.hub", lost) is not None
    assert logged("celery.worker.request", ValueError()) is not None
