"""The process runner: build the launch spec of a supervisor, and start, find and end supervisors.

A supervisor is no child process of a worker: it is started through a shell that exits at once. So no worker has to reap
it, and no restart of a service ends it. This host knows it by its state file in `<data>/supervisors/`.
"""

import contextlib
import dataclasses
import json
import logging
import os
import select
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from uuid import UUID

from django.conf import settings

from core.limits import LIMITS
from wardroom import processes

log = logging.getLogger(__name__)

# The shell exits and the supervisor stays. It reads its launch spec from descriptor 3, because a shell replaces the
# standard input of a background command.
_LEAVE_BEHIND = 'exec 3<&0; "$@" <&3 3<&- >&2 & echo $!'

# The part of our environment that a child may see. It must not contain the database, the broker or the secret key.
_ALLOWED = ("HOME", "USER", "LOGNAME", "SHELL", "LANG", "LANGUAGE", "TZ", "TMPDIR", "SSL_CERT_FILE", "SSL_CERT_DIR")


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class LaunchSpec:
    """The launch spec of a child. The supervisor reads it once, from its standard input."""

    url: str
    session: str
    attempt: int
    token: str = dataclasses.field(repr=False)
    command: list[str]
    cwd: str
    env: dict[str, str]
    state_dir: str
    alive_secs: float
    silence_secs: float
    grace_secs: float
    stderr_tail_bytes: int

    def as_json(self) -> bytes:
        return json.dumps(dataclasses.asdict(self)).encode()


class NotStarted(Exception):
    """The supervisor could not be started on this host. The text gives the reason."""


def this_host() -> str:
    """Return the name of this host, as attempts store it."""
    return socket.gethostname()


def supervisors_folder() -> Path:
    """Return the folder for the state files of this host's supervisors. Create it on first use, readable by us only."""
    folder = settings.DATA_FOLDER / "supervisors"
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    return folder


def child_environment(extra: Mapping[str, str]) -> dict[str, str]:
    """Return the allowed part of our environment and `extra`, with Wardroom's interpreter first on PATH."""
    names = {*_ALLOWED, *LIMITS.child_environment}
    kept = {name: value for name, value in os.environ.items() if name in names or name.startswith("LC_")}
    return {**kept, **extra, "PATH": child_path()}


def child_path() -> str:
    """Return the PATH of a child. In it, `python` is the interpreter that runs Wardroom."""
    return os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", os.defpath)])


def work_folder() -> Path:
    """Return the parent folder of all working folders on this host."""
    data: Path = settings.DATA_FOLDER
    return data / "work"


def working_folder(session_id: UUID) -> Path:
    """Return the session's own folder, and create it. All attempts share it, until `workdirs.sweep` removes it."""
    folder = work_folder() / str(session_id)
    # `parents=True` alone would give the folder above the mode of the umask.
    for each in (folder.parent, folder):
        each.mkdir(mode=0o700, parents=True, exist_ok=True)
    return folder


def launch_spec(
    session_id: UUID, attempt: int, token: str, command: list[str], options: Mapping[str, Any]
) -> LaunchSpec:
    """Return the launch spec of one attempt."""
    url = settings.WARDROOM_URL
    named = {"WARDROOM_URL": url, "WARDROOM_SESSION": str(session_id), "WARDROOM_ATTEMPT": str(attempt)}
    return LaunchSpec(
        url=url,
        session=str(session_id),
        attempt=attempt,
        token=token,
        command=command,
        cwd=str(options.get("cwd") or working_folder(session_id)),
        env=child_environment({**options.get("env", {}), **named}),
        state_dir=str(supervisors_folder()),
        alive_secs=LIMITS.supervisor_alive_secs,
        silence_secs=LIMITS.supervisor_orphan_secs,
        grace_secs=LIMITS.kill_grace_secs,
        stderr_tail_bytes=LIMITS.stderr_tail_bytes,
    )


def start_supervisor(spec: LaunchSpec) -> int:
    """Start a supervisor that outlives this process, and return its pid. Raises NotStarted."""
    folder = Path(spec.state_dir)
    log_file = folder / f"{spec.session}-{spec.attempt}.log"
    try:
        with tempfile.TemporaryFile(dir=folder) as handed, open(log_file, "ab", opener=_private) as errors:
            handed.write(spec.as_json())
            handed.seek(0)
            left = subprocess.run(
                ["/bin/sh", "-c", _LEAVE_BEHIND, "sh", sys.executable, "-m", "wardroom.supervisor"],
                stdin=handed, stdout=subprocess.PIPE, stderr=errors, check=True, timeout=10,
                cwd=settings.BASE_DIR, env=child_environment({}), start_new_session=True,
            )  # fmt: skip
    except (OSError, subprocess.SubprocessError) as problem:
        raise NotStarted(f"the supervisor could not be started: {problem}") from problem
    pid = int(left.stdout)
    # A supervisor that never writes its own state file can still be found and ended by this first one.
    state = {"session": spec.session, "attempt": spec.attempt, "pid": pid, "start": processes.start_time(pid)}
    state |= {"pgid": None, "pgid_start": None, "host": this_host(), "boot_id": processes.boot_id()}
    try:
        with open(state_file(UUID(spec.session), spec.attempt), "x", opener=_private) as file:
            json.dump(state, file)
    except FileExistsError:
        pass  # The supervisor has written its own, which says more.
    except OSError:
        log.exception("the state file of the supervisor of %s/%s could not be written", spec.session, spec.attempt)
    return pid


def _private(path: str, flags: int) -> int:
    return os.open(path, flags, 0o600)


def read_state(file: Path) -> dict[str, Any]:
    """Return the content of a state file, or an empty dict if it is missing or invalid."""
    try:
        state = json.loads(file.read_bytes())
        UUID(state["session"])
        numbers = [state["attempt"], state["pid"], state["start"] or 0, state["pgid"] or 0, state["pgid_start"] or 0]
        texts = [state["host"], state["boot_id"]]
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return {}
    usable = all(type(each) is int for each in numbers) and all(isinstance(each, str) for each in texts)
    return state if usable and state["pid"] > 0 else {}


def state_file(session_id: UUID, attempt: int) -> Path:
    """Return the path of the state file of this attempt's supervisor."""
    return supervisors_folder() / f"{session_id}-{attempt}.json"


def end_earlier(session_id: UUID, before: int, timeout: float) -> None:
    """End every supervisor on this host that runs an attempt of the session before number `before`."""
    for file in supervisors_folder().glob(f"{session_id}-*.json"):
        state = read_state(file)
        if state and state["attempt"] < before:
            end_supervisor(file, timeout)


def end_supervisor(file: Path, timeout: float) -> bool:
    """Ask a supervisor to end its child and itself, and kill both after `timeout`. Return True if it was running.

    This is safe against a reused pid: the state file holds the start time of each process and the boot id of the host.
    """
    state = read_state(file)
    if state.get("host") != this_host():
        return False
    there = _runs(state, "pid", "start")
    if there:
        _signal(state["pid"], signal.SIGTERM)
        _wait_for_end(state, timeout)
    # Kill the process group first: a supervisor that is killed before its child could leave an orphan.
    if state["pgid"] and _runs(state, "pgid", "pgid_start"):
        processes.kill_group(state["pgid"], signal.SIGKILL)
    if _runs(state, "pid", "start"):
        guard = guard_of(state["pid"])
        _signal(state["pid"], signal.SIGKILL)
        _wait_for_end(state, 5)
        # Otherwise it would report this end until the timeout of an orphaned supervisor.
        if guard:
            _signal(guard, signal.SIGKILL)
    file.unlink(missing_ok=True)
    return there


def guard_of(supervisor: int) -> int:
    """Return the process that watches over a supervisor, its parent. 0 if that is none of ours."""
    with contextlib.suppress(OSError, ValueError, IndexError):
        parent = int(Path(f"/proc/{supervisor}/stat").read_bytes().rpartition(b")")[2].split()[1])
        if b"wardroom.supervisor" in Path(f"/proc/{parent}/cmdline").read_bytes():
            return parent
    return 0


def _runs(state: dict[str, Any], pid: str, start: str) -> bool:
    return processes.is_same(state[pid], state["boot_id"], state[start])


def _signal(pid: int, number: int) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):  # It has exited, or the pid is another's now.
        os.kill(pid, number)


def _wait_for_end(state: dict[str, Any], timeout: float) -> None:
    """Wait until the supervisor has exited. The kernel wakes us."""
    deadline = time.monotonic() + timeout
    while _runs(state, "pid", "start") and (left := deadline - time.monotonic()) > 0:
        try:
            descriptor = os.pidfd_open(state["pid"])
        except ProcessLookupError:
            return
        try:
            select.select([descriptor], [], [], left)
        finally:
            os.close(descriptor)
