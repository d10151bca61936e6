"""Run service processes as one: prefix their output, restart those that end, and stop all together.

One thread and one `select`: a process bound to its parent (`parent_death.py`) is bound to the thread that started it.
So the thread that starts processes here must not end before them.
"""

import contextlib
import dataclasses
import os
import selectors
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from types import FrameType
from typing import IO

PARENT_DEATH = Path(__file__).with_name("parent_death.py")

FIRST_DELAY, LONGEST_DELAY = 0.2, 10.0
# A process that ran this long was healthy: its next end restarts the back-off.
WELL_AFTER_SECS = 30.0
LONGEST_LINE = 16 * 1024

# Log lines may contain an agent's text: no control character reaches the terminal.
CONTROLS = {code: f"\\x{code:02x}" for code in (*range(32), *range(127, 160)) if code != ord("\t")}
CONTROLS |= {code: f"\\u{code:04x}" for code in (0x2028, 0x2029)}


@dataclasses.dataclass(frozen=True)
class Part:
    """One service process: its log name, its command, and a function to call before each start."""

    name: str
    command: tuple[str, ...]
    environment: Mapping[str, str]
    before: Callable[[], None] = lambda: None
    #: -1 keeps our own.
    umask: int = -1


@dataclasses.dataclass(eq=False)
class Running:
    """A part that should run, and its process while it runs."""

    part: Part
    process: subprocess.Popen[bytes] | None = None
    started_at: float = 0.0
    delay: float = FIRST_DELAY
    failures: int = 0
    start_at: float = 0.0
    rest: bytes = b""


class ProcessManager:
    """Keeps parts running until `stop` is requested, by a signal or by a call."""

    def __init__(self, out: IO[str] | None = None) -> None:
        self.out = out or sys.stdout
        self.running: list[Running] = []
        self.stopping = False
        self.hurried = False
        self.selector = selectors.DefaultSelector()
        self.wakeup, self.waker = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        self.selector.register(self.wakeup, selectors.EVENT_READ, None)

    # Signals

    def listen_to_signals(self) -> None:
        """Stop everything on SIGINT, SIGTERM and SIGHUP. A second signal skips the wait. SIGCHLD only wakes.

        A SIGHUP that was ignored stays ignored, as nohup needs.
        """
        signal.set_wakeup_fd(self.waker, warn_on_full_buffer=False)
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, self._asked_to_stop)
        if signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:
            signal.signal(signal.SIGHUP, self._asked_to_stop)
        signal.signal(signal.SIGCHLD, lambda number, frame: None)

    def _asked_to_stop(self, number: int, frame: FrameType | None) -> None:
        self.hurried = self.stopping
        self.stopping = True

    # Starting

    def add(self, part: Part) -> Running:
        """Start a part, and keep it running."""
        running = Running(part)
        self.running.append(running)
        self._start(running)
        return running

    def _start(self, running: Running) -> None:
        running.part.before()
        running.process = subprocess.Popen(
            [sys.executable, str(PARENT_DEATH), str(os.getpid()), *running.part.command],
            env=dict(running.part.environment),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            umask=running.part.umask,
        )
        running.started_at = time.monotonic()
        assert running.process.stdout is not None  # noqa: S101  for the type checker: we asked for a pipe
        os.set_blocking(running.process.stdout.fileno(), False)
        self.selector.register(running.process.stdout, selectors.EVENT_READ, running)

    # Watching

    def run(self, each_round: Callable[[], None] = lambda: None) -> None:
        """Watch until a stop is requested."""
        while not self.stopping:
            self.watch(0.5)
            each_round()

    def watch(self, timeout: float) -> None:
        """Print output, detect ended parts, and start parts at the end of their back-off.

        Takes at most `timeout` seconds.
        """
        due = [r.start_at - time.monotonic() for r in self.running if r.process is None]
        for key, _ in self.selector.select(max(0.0, min([timeout, *due]))):
            if key.data is None:
                drain(self.wakeup)
            else:
                self._read(key.data)
        # As process 1 of a container we inherit supervisors that outlived a worker: reap them.
        ours = {running.process.pid for running in self.running if running.process is not None}
        with contextlib.suppress(ChildProcessError):
            while (dead := os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)) and dead.si_pid not in ours:
                os.waitpid(dead.si_pid, 0)
        for running in self.running:
            if running.process is not None and has_ended(running.process):
                self._bury(running)
            elif running.process is None and not self.stopping and time.monotonic() >= running.start_at:
                self._start(running)

    def _read(self, running: Running) -> bool:
        """Print the whole lines that a part has written. Return False when there was no output."""
        process = running.process
        if process is None or process.stdout is None:
            return False
        try:
            said = os.read(process.stdout.fileno(), 65536)
        except BlockingIOError:
            return False
        if not said:
            self._hush(process.stdout)
            return False
        *lines, running.rest = (running.rest + said).split(b"\n")
        if len(running.rest) > LONGEST_LINE:
            lines, running.rest = [*lines, running.rest], b""
        for line in lines:
            self._line(running, line)
        return True

    def _line(self, running: Running, line: bytes) -> None:
        text = line.decode(errors="replace").rstrip("\r").translate(CONTROLS)
        self.say(text, running.part.name)

    def _bury(self, running: Running) -> None:
        """Clean up after an ended part: end the rest of its group, and plan its restart.

        Supervisors have left the group and stay.
        """
        process = running.process
        assert process is not None and process.stdout is not None  # noqa: S101  only called for a process of ours
        end_group(process.pid)
        status = process.wait()
        while self._read(running):
            pass
        if running.rest:
            self._line(running, running.rest)
        self._hush(process.stdout)
        process.stdout.close()
        running.process, running.rest = None, b""
        if not self.stopping:
            now = time.monotonic()
            if now - running.started_at > WELL_AFTER_SECS:
                running.delay, running.failures = FIRST_DELAY, 0
            running.failures += 1
            running.start_at = now + running.delay
            self.say(f"{running.part.name} ended ({ending(status)}); it starts again in {running.delay:.1f} s")
            running.delay = min(running.delay * 2, LONGEST_DELAY)

    def _hush(self, pipe: IO[bytes]) -> None:
        """Stop listening to a pipe. It may have ended before or after its process."""
        with contextlib.suppress(KeyError):
            self.selector.unregister(pipe)

    # Stopping

    def stop(self, some: Iterable[Running], within: float) -> None:
        """End these parts: SIGTERM, then SIGKILL for the rest of their groups after `within` seconds."""
        self.stopping = True
        ending_now = [running for running in some if running.process is not None]
        for running in ending_now:
            if running.process is not None:
                signal_process(running.process, signal.SIGTERM)
        deadline = time.monotonic() + within
        while any(r.process for r in ending_now) and time.monotonic() < deadline and not self.hurried:
            self.watch(0.2)
        for running in ending_now:
            if running.process is not None:
                end_group(running.process.pid)
                self._bury(running)

    def say(self, text: str, name: str = "up") -> None:
        self.print(f"{name:<6} | {text}")

    def print(self, text: str) -> None:
        """Print one line. The services continue when the output is closed."""
        try:
            self.out.write(f"{text}\n")
            self.out.flush()
        except OSError:
            with contextlib.suppress(OSError):
                self.out.close()
            self.out = open(os.devnull, "w")  # noqa: SIM115  kept until the process ends


def has_ended(process: subprocess.Popen[bytes]) -> bool:
    """Return True when the process is dead. It stays a zombie, so that its group id is not reused yet."""
    return os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None


def signal_process(process: subprocess.Popen[bytes], number: int) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.kill(process.pid, number)


def end_group(leader: int) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(leader, signal.SIGKILL)


def ending(status: int) -> str:
    if status >= 0:
        return f"status {status}"
    return f"signal {signal.Signals(-status).name}"


def drain(descriptor: int) -> None:
    with contextlib.suppress(BlockingIOError):
        while os.read(descriptor, 4096):
            pass
