"""The process runner: what a keeper is told, how it is started, found again and ended.

A keeper belongs to nobody here: it is started through a shell that leaves at once, so that no worker has to reap it
and no restart of a service takes it along. What this host knows about it is its state file in `<data>/keepers/`.
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

from wardroom import processes

log = logging.getLogger(__name__)

# The shell leaves and the keeper stays. Its orders come in as descriptor 3, because a background command's own
# standard input is taken away from it.
_LEAVE_BEHIND = 'exec 3<&0; "$@" <&3 3<&- >&2 & echo $!'

# What a child may see of our environment. Never the database, the broker or the secret key.
_ALLOWED = ("HOME", "USER", "LOGNAME", "SHELL", "LANG", "LANGUAGE", "TZ", "TMPDIR", "SSL_CERT_FILE", "SSL_CERT_DIR")


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Orders:
    """What a keeper reads from its standard input, once."""

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
    """The keeper could not be started on this host; the text says why."""


def this_host() -> str:
    """The name by which attempts remember where their keeper runs."""
    return socket.gethostname()


def keepers_folder() -> Path:
    """Where keepers of this host leave their state; made on first use, for our eyes only."""
    folder = settings.DATA_FOLDER / "keepers"
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    return folder


def child_environment(extra: Mapping[str, str]) -> dict[str, str]:
    """The allow-list of our own environment, Wardroom's interpreter first on PATH, and then `extra`."""
    names = {*_ALLOWED, *settings.WARDROOM["child_environment"]}
    kept = {name: value for name, value in os.environ.items() if name in names or name.startswith("LC_")}
    return {**kept, **extra, "PATH": child_path()}


def child_path() -> str:
    """`python` means the interpreter that runs Wardroom, whatever else is installed."""
    return os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", os.defpath)])


def work_folder() -> Path:
    """Where the children of this host have theirs."""
    data: Path = settings.DATA_FOLDER
    return data / "work"


def working_folder(session_id: UUID) -> Path:
    """A folder of the session's own, the same for every attempt, until `folders.sweep` lets go of it."""
    folder = work_folder() / str(session_id)
    # `parents=True` alone would give the folder above the mode of the umask.
    for each in (folder.parent, folder):
        each.mkdir(mode=0o700, parents=True, exist_ok=True)
    return folder


def orders(session_id: UUID, attempt: int, token: str, command: list[str], options: Mapping[str, Any]) -> Orders:
    """The whole of what a keeper needs to know about one attempt."""
    timings = settings.WARDROOM
    url = settings.WARDROOM_URL
    named = {"WARDROOM_URL": url, "WARDROOM_SESSION": str(session_id), "WARDROOM_ATTEMPT": str(attempt)}
    return Orders(
        url=url,
        session=str(session_id),
        attempt=attempt,
        token=token,
        command=command,
        cwd=str(options.get("cwd") or working_folder(session_id)),
        env=child_environment({**options.get("env", {}), **named}),
        state_dir=str(keepers_folder()),
        alive_secs=timings["keeper_alive_secs"],
        silence_secs=timings["keeper_orphan_secs"],
        grace_secs=timings["kill_grace_secs"],
        stderr_tail_bytes=timings["stderr_tail_bytes"],
    )


def start_keeper(told: Orders) -> int:
    """Start a keeper that outlives us, and leave it; its pid. Raises NotStarted."""
    folder = Path(told.state_dir)
    try:
        with tempfile.TemporaryFile(dir=folder) as handed, open(_log_of(told), "ab", opener=_private) as log:
            handed.write(told.as_json())
            handed.seek(0)
            left = subprocess.run(
                ["/bin/sh", "-c", _LEAVE_BEHIND, "sh", sys.executable, "-m", "wardroom.supervisor"],
                stdin=handed, stdout=subprocess.PIPE, stderr=log, check=True, timeout=10,
                cwd=settings.BASE_DIR, env=child_environment({}), start_new_session=True,
            )  # fmt: skip
    except (OSError, subprocess.SubprocessError) as problem:
        raise NotStarted(f"the keeper could not be started: {problem}") from problem
    pid = int(left.stdout)
    _note_start(told, pid)
    return pid


def _private(path: str, flags: int) -> int:
    return os.open(path, flags, 0o600)


def _log_of(told: Orders) -> Path:
    return Path(told.state_dir) / f"{told.session}-{told.attempt}.log"


def _note_start(told: Orders, pid: int) -> None:
    """Leave a first state file, so that a keeper that never gets to write its own can still be found and ended."""
    state = {"session": told.session, "attempt": told.attempt, "pid": pid, "start": processes.start_time(pid)}
    state |= {"pgid": None, "pgid_start": None, "host": this_host(), "boot_id": processes.boot_id()}
    try:
        with open(state_file(UUID(told.session), told.attempt), "x", opener=_private) as file:
            json.dump(state, file)
    except FileExistsError:
        return  # The keeper was faster, and knows more.
    except OSError:
        log.exception("no note of the keeper of %s/%s could be left", told.session, told.attempt)


def read_state(file: Path) -> dict[str, Any]:
    """What a state file says; empty when it is gone, or says nothing that can be used."""
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
    """Where the keeper of this attempt says who it is."""
    return keepers_folder() / f"{session_id}-{attempt}.json"


def end_earlier(session_id: UUID, before: int, timeout: float) -> None:
    """End every keeper of this host that runs an attempt of the session before number `before`."""
    for file in keepers_folder().glob(f"{session_id}-*.json"):
        state = read_state(file)
        if state and state["attempt"] < before:
            end_keeper(file, timeout)


def end_keeper(file: Path, timeout: float) -> bool:
    """Ask a keeper to end its child and itself; after `timeout` kill both. True when it was there and is gone.

    Safe against a pid that was used again: the state file carries each process's start and the boot of the host.
    """
    state = read_state(file)
    if state.get("host") != this_host():
        return False
    there = _runs(state, "pid", "start")
    if there:
        _signal(state["pid"], signal.SIGTERM)
        _wait_for_end(state, timeout)
    _kill_what_is_left(file, state)
    return there


def _kill_what_is_left(file: Path, state: dict[str, Any]) -> None:
    """The group first: a keeper that is killed before its child could leave an orphan."""
    if state["pgid"] and _runs(state, "pgid", "pgid_start"):
        processes.kill_group(state["pgid"], signal.SIGKILL)
    if _runs(state, "pid", "start"):
        guard = _guard_of(state["pid"])
        _signal(state["pid"], signal.SIGKILL)
        _wait_for_end(state, 5)
        # It would go on reporting this end for as long as a keeper waits for an answer.
        if guard:
            _signal(guard, signal.SIGKILL)
    file.unlink(missing_ok=True)


def _guard_of(pid: int) -> int | None:
    """The process that watches over a keeper: its parent, if that is one of ours."""
    try:
        parent = int(Path(f"/proc/{pid}/stat").read_bytes().rpartition(b")")[2].split()[1])
        named = b"wardroom.supervisor" in Path(f"/proc/{parent}/cmdline").read_bytes()
    except (OSError, ValueError, IndexError):
        return None
    return parent if named else None


def _runs(state: dict[str, Any], pid: str, start: str) -> bool:
    return processes.is_same(state[pid], state["boot_id"], state[start])


def _signal(pid: int, number: int) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):  # Gone, or no longer ours.
        os.kill(pid, number)


def _wait_for_end(state: dict[str, Any], timeout: float) -> None:
    """Wait until the keeper is gone, woken by the kernel."""
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
