"""A private server: its own folder, its own process, its log, and an end that leaves nothing behind."""

import contextlib
import fcntl
import os
import random
import shutil
import signal
import socket
import subprocess
import tempfile
from pathlib import Path
from typing import IO, Self

from tests.waiting import NeverHappened, wait_until

STOP_SECONDS = 15.0
#: Ends a Wardroom whose test is over: at once, or so that its processes write down the lines that they have run.
LAST_SIGNAL = signal.SIGTERM if "COVERAGE_PROCESS_CONFIG" in os.environ else signal.SIGKILL


class ServerMissing(RuntimeError):
    """The server's program is not installed; scripts/install_test_servers.sh says how."""


# A lock on its byte for each port that was given away: no other process of these tests, of this run or another, gives
# the same one while its server is not up yet, or stopped. The locks end with the process.
_PORTS = open(Path(tempfile.gettempdir(), f"wardroom-test-ports-{os.getuid()}"), "ab")  # noqa: SIM115 - kept open
_given: set[int] = set()


def free_port() -> int:
    """A port that nobody listens on, below the range that the kernel gives to outgoing connections; ours from now on.

    So it is still free when a server is stopped and started again in the middle of a test.
    """
    for port in random.sample(range(20000, 32000), 200):
        if _claim(port) and _is_free(port):
            return port
    raise RuntimeError("no free port between 20000 and 32000")


def _claim(port: int) -> bool:
    if port in _given:
        return False
    try:
        fcntl.lockf(_PORTS, fcntl.LOCK_EX | fcntl.LOCK_NB, 1, port)
    except OSError:
        return False
    _given.add(port)
    return True


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


def short_folder() -> Path:
    """A 0700 folder with a path short enough for a unix socket (107 bytes)."""
    return Path(tempfile.mkdtemp(prefix="wr-", dir="/tmp"))


def dies_with_parent() -> list[str]:
    """A prefix that ends the server with the test run, however that ends."""
    return ["setpriv", "--pdeathsig", "KILL"] if shutil.which("setpriv") else []


def spawn(
    command: list[str], *, log: IO[bytes], env: dict[str, str] | None = None, cwd: Path | None = None
) -> "subprocess.Popen[bytes]":
    """Start it in a session of its own, with everything it says going to `log`."""
    quiet = subprocess.DEVNULL
    return subprocess.Popen(command, stdin=quiet, stdout=log, stderr=log, env=env, cwd=cwd, start_new_session=True)


def end_group(process: "subprocess.Popen[bytes]", sig: signal.Signals, timeout: float = STOP_SECONDS) -> None:
    """Send `sig` to the process, wait for it, then kill the rest of its group."""
    if process.poll() is None:
        process.send_signal(signal.SIGCONT)
        process.send_signal(sig)
        try:
            process.wait(timeout)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait(timeout)
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)


class Server:
    """One private server. Use it as a context manager, or `close()` it; it can stop and start in between.

    A subclass gives `command()` and `answers()`, and `prepare()` makes the files for the first start.
    """

    name = "server"
    stop_signal = signal.SIGTERM
    immediate_signal = signal.SIGKILL
    ready_seconds = 30.0

    def __init__(self) -> None:
        self.folder = short_folder()
        self.log = self.folder / "log.txt"
        self.process: subprocess.Popen[bytes] | None = None
        self._prepared = False

    def command(self) -> list[str]:
        raise NotImplementedError

    def answers(self) -> bool:
        raise NotImplementedError

    def prepare(self) -> None:
        """Prepare files before the first start."""

    def environment(self) -> dict[str, str]:
        return dict(os.environ)

    def start(self) -> Self:
        """Start it, and return when it answers. It reads its files of earlier starts."""
        if self.running:
            return self
        if not self._prepared:
            self.prepare()
            self._prepared = True
        with self.log.open("ab") as log:
            self.process = spawn(self.command(), log=log, env=self.environment())
        try:
            wait_until(lambda: not self.running or self.answers(), self.ready_seconds, why=f"{self.name} answering")
        except NeverHappened as late:
            raise RuntimeError(f"{self.name} did not answer in time:\n{self.tail()}") from late
        if not self.running:
            raise RuntimeError(f"{self.name} ended at once:\n{self.tail()}")
        return self

    @property
    def running(self) -> bool:
        return self.process is not None and self.process.poll() is None

    @property
    def pid(self) -> int:
        assert self.process is not None
        return self.process.pid

    def stop(self, *, immediate: bool = False) -> None:
        """End it cleanly, or with `immediate` as a power cut would."""
        if self.process is not None:
            end_group(self.process, self.immediate_signal if immediate else self.stop_signal)
            self.process = None

    def kill(self) -> None:
        """kill -9, of the whole process group."""
        if self.process is not None:
            os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait(STOP_SECONDS)
            self.process = None

    def restart(self, *, immediate: bool = False) -> None:
        self.stop(immediate=immediate)
        self.start()

    def pause(self) -> None:
        """SIGSTOP: it still holds its connections, and answers nothing."""
        os.killpg(self.pid, signal.SIGSTOP)

    def resume(self) -> None:
        os.killpg(self.pid, signal.SIGCONT)

    def tail(self, lines: int = 30) -> str:
        try:
            return "\n".join(self.log.read_text(errors="replace").splitlines()[-lines:])
        except OSError:
            return ""

    def close(self) -> None:
        self.stop(immediate=True)
        shutil.rmtree(self.folder, ignore_errors=True)

    def __enter__(self) -> Self:
        try:
            return self.start()
        except BaseException:
            self.close()
            raise

    def __exit__(self, *_: object) -> None:
        self.close()
