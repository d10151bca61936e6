"""The supervisor of one child process: starts its command, reports its life and its end, and can kill it.

    python -m wardroom.supervisor               launch spec on standard input
    python -m wardroom.supervisor --fd N        launch spec on an inherited descriptor
    python -m wardroom.supervisor --spec FILE   launch spec in a file that only we may read; it is removed

The launch spec is one JSON object:

    url, session, attempt, token   Wardroom's address, the attempt of the reports, and their token
    command, cwd, env              the command to start; env is the whole environment, already allow-listed
    grace_secs                     from TERM to KILL (20)
    state_dir                      folder of this supervisor's identity, <session>-<attempt>.json, until it ends
    stdout_file                    target of the child's output (/dev/null)
    alive_secs                     between reports (15)
    silence_secs                   without an answer for this long: kill, or stop reporting (600)
    stderr_tail_bytes              bytes kept from the end of the child's stderr (8192)

The child finds WARDROOM_URL, WARDROOM_SESSION, WARDROOM_ATTEMPT, and its token on the descriptor that WARDROOM_TOKEN_FD
names.

There are two processes: the guard, and the supervisor under it. When the supervisor is killed, the guard ends its
remaining processes. When the guard is killed, the supervisor ends its child. No process of the child stays. Standard
library only: this runs in places without broker, database or server code.
"""

import argparse
import contextlib
import json
import os
import queue
import signal
import socket
import stat
import subprocess
import sys
import threading
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from wardroom import processes
from wardroom.reports import Reporter

NOT_STARTED = 127
# The exit status of a supervisor that failed itself.
FAILED = 70
# Seconds to wait for processes that cannot be killed: the child itself, and its remaining processes.
LEADER_SECS, LEFT_SECS = 5.0, 1.0


@dataclass(frozen=True, slots=True)
class LaunchSpec:
    """The command to start, and the address for its reports."""

    url: str
    session: str
    attempt: int
    token: str = field(repr=False)
    command: list[str]
    cwd: str | None = None
    env: dict[str, str] = field(default_factory=dict, repr=False)
    grace_secs: float = 20.0
    state_dir: str | None = None
    stdout_file: str | None = None
    alive_secs: float = 15.0
    silence_secs: float = 600.0
    stderr_tail_bytes: int = 8192

    @classmethod
    def parse(cls, text: str) -> "LaunchSpec":
        """Parse a launch spec from JSON. Unknown members are ignored. Raises ValueError, KeyError or TypeError."""
        given = json.loads(text)
        known = {name: given[name] for name in cls.__slots__ if given.get(name) is not None}
        return cls(**known)

    @property
    def state_file(self) -> Path | None:
        """The file with this supervisor's identity."""
        return Path(self.state_dir, f"{self.session}-{self.attempt}.json") if self.state_dir else None


@dataclass(frozen=True, slots=True)
class Exited:
    """The child's leader has ended (and is not yet reaped)."""


@dataclass(frozen=True, slots=True)
class Kill:
    """A request to end the child: from the server, a dead token, silence, or a signal to us."""

    grace_secs: float
    stopping: bool = False


class Supervisor:
    """One child's process group, from its start to the report of its end."""

    def __init__(self, spec: LaunchSpec) -> None:
        self.spec = spec
        self.events: queue.SimpleQueue[Exited | Kill] = queue.SimpleQueue()
        self.reporter = Reporter(spec.url, spec.session, spec.attempt, spec.token)
        self.tail = bytearray()
        self.stopping = False
        self.done = threading.Event()

    def run(self) -> int:
        """Start, watch, end and report the child, in that order. Return our own exit status."""
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            signal.signal(number, lambda *_: self.events.put(Kill(self.spec.grace_secs, stopping=True)))
        try:
            child = self._start()
        except (OSError, ValueError, subprocess.SubprocessError) as error:  # A ValueError means a NUL in a name.
            what = f"cannot start {self.spec.command[0]!r} in {self.spec.cwd or os.getcwd()!r}: {error}"
            self.report_exit(_end(NOT_STARTED, what))
            return 1
        if self.spec.state_file:
            me = os.getpid()
            state = {
                "session": self.spec.session,
                "attempt": self.spec.attempt,
                "pid": me,
                "start": processes.start_time(me),
                "pgid": child.pid,
                "pgid_start": processes.start_time(child.pid),
                "host": socket.gethostname(),
                "boot_id": processes.boot_id(),
            }
            # Without it (a full disk) our starter has left a note of our pid.
            with contextlib.suppress(OSError):
                processes.write_private(self.spec.state_file, state)
        readers = [self._thread(self._read_stderr, child), self._thread(self._await_exit, child)]
        self._thread(self._report_life, child)
        ended = self._watch(child.pid)
        left = self._end(child, ended)
        readers[0].join(timeout=1.0)
        # Wardroom refuses NUL in text, and a refused report would lose the status, too.
        tail = bytes(self.tail).decode(errors="replace").replace("\0", "\ufffd")
        if left:
            tail += f"\n[still runs, and cannot be killed by this user: {', '.join(left[:10])}]"
        self.report_exit(_end(-signal.SIGKILL if child.returncode is None else child.returncode, tail))
        remove_state(self.spec)
        return 0

    def _start(self) -> subprocess.Popen[bytes]:
        """Start the child in its own process group. Its token is in a pipe, never in argv or the environment."""
        spec, me = self.spec, os.getpid()
        read, write = os.pipe()
        os.write(write, spec.token.encode())
        os.close(write)
        env = {
            **spec.env,
            "WARDROOM_URL": spec.url,
            "WARDROOM_SESSION": spec.session,
            "WARDROOM_ATTEMPT": str(spec.attempt),
            "WARDROOM_TOKEN_FD": str(read),
        }
        try:
            with open(spec.stdout_file or os.devnull, "ab") as stdout:
                return subprocess.Popen(
                    spec.command,
                    cwd=spec.cwd,
                    env=env,
                    stdin=subprocess.DEVNULL,
                    stdout=stdout,
                    stderr=subprocess.PIPE,
                    pass_fds=(read,),
                    process_group=0,
                    preexec_fn=lambda: processes.begin(me),
                )
        finally:
            os.close(read)

    def _thread(self, target: Callable[..., None], *args: Any) -> threading.Thread:
        thread = threading.Thread(target=target, args=args, daemon=True)
        thread.start()
        return thread

    def _read_stderr(self, child: subprocess.Popen[bytes]) -> None:
        assert child.stderr is not None  # noqa: S101
        while chunk := os.read(child.stderr.fileno(), 65536):
            self.tail += chunk
            del self.tail[: -self.spec.stderr_tail_bytes]

    def _await_exit(self, child: subprocess.Popen[bytes]) -> None:
        # Not reaped yet: while the leader is a zombie its group id cannot be reused.
        with contextlib.suppress(ChildProcessError):
            os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)
            self.events.put(Exited())

    def _report_life(self, child: subprocess.Popen[bytes]) -> None:
        """Report every `alive_secs`, and request a kill when an answer, or its absence, demands it."""
        life = {
            "pid": os.getpid(),
            "pgid": child.pid,
            "host": socket.gethostname(),
            "started_at": datetime.now(UTC).isoformat(),
        }
        answered = time.monotonic()
        while not self.done.is_set():
            answer = self.reporter.post("alive", life)
            if answer.ok:
                answered = time.monotonic()
            silent = time.monotonic() - answered
            if answer.dead or answer.body.get("action") == "kill" or silent >= self.spec.silence_secs:
                self.events.put(Kill(self.spec.grace_secs))
                return
            self.done.wait(self.spec.alive_secs)

    def _watch(self, pgid: int) -> bool:
        """Wait until the leader ends.

        A kill sends TERM, then KILL after the grace. A second signal to us skips the grace.

        Return False when it survives KILL: a program of another user (set-uid) ignores our signals.
        """
        deadline: float | None = None
        killed = False
        while True:
            wait = None if deadline is None else max(0.0, deadline - time.monotonic())
            try:
                event = self.events.get(timeout=wait)
            except queue.Empty:
                if killed:
                    return False
                processes.kill_group(pgid, signal.SIGKILL)
                killed, deadline = True, time.monotonic() + LEADER_SECS
                continue
            if isinstance(event, Exited):
                return True
            grace = 0.0 if self.stopping and event.stopping else event.grace_secs
            self.stopping = self.stopping or event.stopping
            if not killed:
                due = time.monotonic() + grace
                deadline = due if deadline is None else min(deadline, due)
                processes.kill_group(pgid, signal.SIGTERM)

    def _end(self, child: subprocess.Popen[bytes], ended: bool) -> list[str]:
        """End the leader's remaining processes, inside and outside its group.

        Return the names of those that cannot be killed.
        """
        self.done.set()
        processes.kill_group(child.pid, signal.SIGKILL)
        if ended:
            child.wait()
        return processes.end_children(LEFT_SECS)

    def report_exit(self, end: dict[str, Any]) -> None:
        """Report until acknowledged, with back-off. Report only once, briefly, when the whole of Wardroom stops."""
        deadline, pause = time.monotonic() + self.spec.silence_secs, 0.5
        while True:
            answer = self.reporter.post("exited", end, timeout=2.0 if self.stopping else 10.0)
            if answer.ok or answer.final or self.stopping or time.monotonic() + pause > deadline:
                return
            with contextlib.suppress(queue.Empty):
                event = self.events.get(timeout=pause)
                self.stopping = isinstance(event, Kill) and event.stopping
            pause = min(pause * 2, 15.0)


def remove_state(spec: LaunchSpec) -> None:
    """Remove the state file: this supervisor has ended."""
    if spec.state_file:
        spec.state_file.unlink(missing_ok=True)


def running(state: dict[str, Any]) -> bool:
    """Return True while the supervisor that wrote this state file runs. For readers of the file."""
    return processes.is_same(state["pid"], state["boot_id"], state["start"])


def read_launch_spec(fd: int | None, path: str | None) -> LaunchSpec:
    """Read the spec from a descriptor, or from a private file, which is removed. Raises OSError or ValueError."""
    if path is not None:
        mode = os.stat(path).st_mode
        if stat.S_IMODE(mode) & 0o077:
            raise PermissionError(f"{path} may be read by others: it must have mode 0600")
        text = Path(path).read_text()
        os.unlink(path)
        return LaunchSpec.parse(text)
    with open(fd if fd is not None else 0) as file:
        return LaunchSpec.parse(file.read())


def guard(supervisor: int, spec: LaunchSpec) -> int:
    """Wait for the supervisor and pass on signals. When it was killed, end its child and report in its place."""

    def pass_on(*_: Any) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.kill(supervisor, signal.SIGTERM)

    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, pass_on)
    code = os.waitstatus_to_exitcode(os.waitpid(supervisor, 0)[1])
    processes.end_children(LEFT_SECS)
    if code < 0 or code == FAILED:
        why = "was killed" if code < 0 else "failed; the host's log of it says why"
        Supervisor(spec).report_exit(_end(-signal.SIGKILL, f"its supervisor {why}"))
        remove_state(spec)
    return code


def _end(code: int, tail: str) -> dict[str, Any]:
    return {
        "exit_status": code if code >= 0 else None,
        "exit_signal": -code if code < 0 else None,
        "stderr_tail": tail,
    }


def main() -> int:
    """Read the launch spec, detach, and split into guard and supervisor."""
    parser = argparse.ArgumentParser(prog="python -m wardroom.supervisor")
    parser.add_argument("--fd", type=int)
    parser.add_argument("--spec")
    options = parser.parse_args()
    try:
        spec = read_launch_spec(options.fd, options.spec)
    except (OSError, ValueError, TypeError) as error:
        print(f"wardroom.supervisor: no launch spec: {error}", file=sys.stderr)
        return 2
    # Start our own session, and close descriptors that tie us to our starter.
    with contextlib.suppress(PermissionError):  # Already a session leader.
        os.setsid()
    null = os.open(os.devnull, os.O_RDWR)
    os.dup2(null, 0)
    for output in (1, 2):
        if not stat.S_ISREG(os.fstat(output).st_mode):  # A log file may stay open; a pipe or a terminal may not.
            os.dup2(null, output)
    signal.pthread_sigmask(signal.SIG_SETMASK, ())
    processes.adopt_orphans()
    me = os.getpid()
    pid = os.fork()
    if pid:
        return guard(pid, spec)
    processes.die_with(me, signal.SIGTERM)
    processes.adopt_orphans()
    try:
        return Supervisor(spec).run()
    except Exception:
        traceback.print_exc()
        return FAILED


if __name__ == "__main__":
    sys.exit(main())
