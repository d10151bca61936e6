"""Stop all children on a clean stop of `manage.py up`: their supervisors end, and their rows record the reason.

Only a clean stop does this. Supervisors and children outlive any process that is killed.
"""

import contextlib
import logging
import os
import select
import signal
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from uuid import UUID

from orchestration.places import held
from orchestration.runners import process
from orchestration.sessions import lifecycle
from wardroom import processes

log = logging.getLogger(__name__)

# Seconds from the first SIGTERM to the second, which stops the grace; then seconds to SIGKILL; then to the last exits.
PATIENCE_SECS, LAST_SECS = 1.5, 0.5


def kept() -> list[tuple[UUID, int]]:
    """Return the attempts, by session and number, that supervisors of this data folder run."""
    return [
        (UUID(state["session"]), int(state["attempt"])) for state in map(process.read_state, state_files()) if state
    ]


def end_all(wait: Callable[[float], None]) -> None:
    """End the supervisors of this data folder. `wait(secs)` passes some time.

    The services must have ended before: no other process may record the end of a child, or start another.
    """
    files = state_files()
    ending = [descriptor for file in files for descriptor in exits(file)]
    for file in files:
        ask_to_end(file)
    deadline = time.monotonic() + PATIENCE_SECS
    while any(is_running(file) for file in files) and time.monotonic() < deadline:
        wait(0.05)
    with ThreadPoolExecutor(max_workers=32) as threads:
        list(threads.map(lambda file: process.end_supervisor(file, LAST_SECS), files))
    # A supervisor removes its file a moment before it exits, and its guard exits after it.
    poll, deadline = select.poll(), time.monotonic() + LAST_SECS
    for descriptor in ending:
        poll.register(descriptor, select.POLLIN)
    while len(poll.poll(0)) < len(ending) and time.monotonic() < deadline:
        wait(0.05)
    for descriptor in ending:
        os.close(descriptor)


def exits(file: Path) -> list[int]:
    """Return descriptors that become readable at the exits of a supervisor and of its guard."""
    found: list[int] = []
    if is_running(file) and (state := process.read_state(file)):
        for pid in filter(None, (state["pid"], process.guard_of(state["pid"]))):
            with contextlib.suppress(ProcessLookupError):
                found.append(os.pidfd_open(pid))
    return found


def settle(attempts: list[tuple[UUID, int]]) -> int:
    """Record that these attempts stopped with the server, or retry them by their policy. Return the number."""
    return sum(written(session_id, attempt) for session_id, attempt in attempts)


def written(session_id: UUID, attempt: int) -> bool:
    """Record the end of one attempt. A row that cannot be written must not stop the others."""
    try:
        held.free(session_id, attempt)
        return lifecycle.stopped_with_server(session_id, attempt)
    except Exception:
        log.exception("the end of %s/%s could not be written", session_id, attempt)
        return False


def state_files() -> list[Path]:
    return list(process.supervisors_folder().glob("*.json"))


def ask_to_end(file: Path) -> None:
    if is_running(file) and (state := process.read_state(file)):
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.kill(state["pid"], signal.SIGTERM)


def is_running(file: Path) -> bool:
    state = process.read_state(file)
    return bool(state) and processes.is_same(state["pid"], state["boot_id"], state["start"])
