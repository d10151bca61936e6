"""The process manager, with small real processes in place of services."""

import ctypes
import io
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from server.process_manager import PARENT_DEATH, Part, ProcessManager
from tests.servers import processes
from tests.waiting import wait_until

pytestmark = pytest.mark.once

DEAF = "import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('up', flush=True); signal.pause()"


def python(code: str) -> tuple[str, ...]:
    return sys.executable, "-c", code


@pytest.fixture
def manager() -> Iterator[Any]:
    made = ProcessManager(io.StringIO())
    yield made
    made.hurried = True
    made.stop(made.running, 0)


def watch_until(manager: Any, seen: Any, timeout: float = 10.0) -> Any:
    def look() -> Any:
        manager.watch(0.05)
        return seen()

    return wait_until(look, timeout)


def test_what_a_part_says_is_prefixed_and_cannot_move_the_terminals_cursor(manager: Any) -> None:
    manager.add(Part("talker", python(r"print('red \x1b[31m\u2028\x85.'); print('half', end='')"), os.environ))
    watch_until(manager, lambda: "half" in manager.out.getvalue())
    assert "talker | red \\x1b[31m\\u2028\\x85.\ntalker | half\n" in manager.out.getvalue()


def test_a_part_that_keeps_dying_is_started_again_with_growing_pauses(manager: Any) -> None:
    dying = manager.add(Part("dying", python("raise SystemExit(7)"), os.environ))
    watch_until(manager, lambda: dying.failures >= 3)
    said = manager.out.getvalue()
    assert "dying ended (status 7); it starts again in 0.2 s" in said
    assert "it starts again in 0.4 s" in said and "it starts again in 0.8 s" in said


def test_what_is_left_of_a_dead_parts_group_is_ended_before_its_return(manager: Any) -> None:
    leaves_one = "import subprocess, sys; print(subprocess.Popen(['sleep', '600']).pid, flush=True); sys.exit(1)"
    manager.add(Part("leaver", python(leaves_one), os.environ))
    watch_until(manager, lambda: "ended (status 1)" in manager.out.getvalue())
    left = int(manager.out.getvalue().split("leaver | ")[1].split()[0])
    wait_until(lambda: not processes.alive(left))


def test_a_part_that_ignores_sigterm_is_killed_when_its_time_is_over(manager: Any) -> None:
    part = manager.add(Part("deaf", python(DEAF), os.environ))
    watch_until(manager, lambda: "deaf   | up" in manager.out.getvalue())
    began = time.monotonic()
    manager.stop([part], 0.5)
    assert part.process is None
    assert 0.4 < time.monotonic() - began < 3


def test_what_it_inherits_as_the_first_process_of_a_container_does_not_pile_up(manager: Any, adopting: Any) -> None:
    leaves = "import subprocess, sys; print(subprocess.Popen(['true'], start_new_session=True).pid, flush=True)"
    manager.add(Part("leaver", python(leaves), os.environ))
    left = int(watch_until(manager, lambda: re.search(r"leaver \| (\d+)", manager.out.getvalue()))[1])
    watch_until(manager, lambda: not Path(f"/proc/{left}").exists())


@pytest.fixture
def adopting() -> Iterator[None]:
    """Make this process a subreaper: orphans become its children."""
    subreaper = 36
    prctl = ctypes.CDLL(None).prctl
    prctl(subreaper, 1, 0, 0, 0)
    yield
    prctl(subreaper, 0, 0, 0, 0)


def test_nobody_reading_the_log_does_not_stop_the_services(manager: Any) -> None:
    manager.out = os.fdopen(os.open("/dev/full", os.O_WRONLY), "w")
    part = manager.add(Part("talker", python("print('x', flush=True); import signal; signal.pause()"), os.environ))
    watch_until(manager, lambda: manager.out.name == os.devnull)
    assert part.process is not None and part.process.poll() is None
    manager.out.close()
    manager.out = io.StringIO()


def test_nohup_is_believed() -> None:
    code = """
import signal
from server.process_manager import ProcessManager
ProcessManager().listen_to_signals()
print(signal.getsignal(signal.SIGHUP) is signal.SIG_IGN)
"""
    told = subprocess.run(["nohup", *python(code)], capture_output=True, text=True, timeout=20)
    assert told.stdout == "True\n"


def test_a_second_signal_no_longer_waits() -> None:
    code = f"""
import os, signal, sys
from server.process_manager import Part, ProcessManager
manager = ProcessManager()
manager.listen_to_signals()
part = manager.add(Part("deaf", (sys.executable, "-c", {DEAF!r}), os.environ))
manager.run()
manager.stop([part], 60)
"""
    process = subprocess.Popen(python(code), stdout=subprocess.PIPE, text=True)
    assert process.stdout.readline() == "deaf   | up\n"
    process.send_signal(signal.SIGTERM)
    with pytest.raises(subprocess.TimeoutExpired):
        process.wait(1)
    process.send_signal(signal.SIGTERM)
    assert process.wait(10) == 0
    process.stdout.close()


def test_a_tethered_process_ends_with_its_parent_and_what_it_started_does_not(tmp_path: Path) -> None:
    note = tmp_path / "pids"
    supervisor = f"""
import os, subprocess, signal
apart = subprocess.Popen(['sleep', '600'], start_new_session=True)
open({str(note)!r}, 'w').write(f'{{os.getpid()}} {{apart.pid}} ')
signal.pause()
"""
    parent = f"""
import os, subprocess, sys, signal
subprocess.Popen([sys.executable, {str(PARENT_DEATH)!r}, str(os.getpid()), sys.executable, '-c', {supervisor!r}])
signal.pause()
"""
    process = subprocess.Popen(python(parent))
    try:
        tethered, apart = wait_until(lambda: [int(pid) for pid in note.read_text().split(" ")[:2]])
        process.kill()
        process.wait()
        wait_until(lambda: not processes.alive(tethered))
        assert processes.alive(apart)
    finally:
        process.kill()
        os.kill(apart, signal.SIGKILL)


def test_a_process_whose_parent_died_before_it_was_tethered_does_not_start() -> None:
    done = subprocess.run([sys.executable, str(PARENT_DEATH), "1", "echo", "started"], capture_output=True)
    assert done.returncode == 1 and done.stdout == b""
