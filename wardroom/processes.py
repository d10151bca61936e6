"""Processes that end when they should: their identity over time, their orphans, their parent's death.

Standard library only. Linux has what this needs; elsewhere the parts that it lacks do nothing.
"""

import contextlib
import ctypes
import json
import os
import signal
from pathlib import Path
from typing import Any

_PR_SET_PDEATHSIG = 1
_PR_SET_CHILD_SUBREAPER = 36


def _load_prctl() -> Any:
    try:
        return ctypes.CDLL(None, use_errno=True).prctl
    except (OSError, AttributeError):
        return None


# Loaded once: between fork and exec nothing may be looked up.
_prctl = _load_prctl()


def die_with(parent: int, number: int = signal.SIGKILL) -> None:
    """Ask the kernel for a signal when the parent is gone; for use between fork and exec."""
    if _prctl is None:
        return
    _prctl(_PR_SET_PDEATHSIG, int(number), 0, 0, 0)
    # The parent may have died before the line above.
    if os.getppid() != parent:
        os.kill(os.getpid(), number)


def adopt_orphans() -> None:
    """Become the parent of whatever a descendant leaves behind, daemons included."""
    if _prctl is not None:
        _prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


def kill_group(pgid: int, number: int) -> bool:
    """Signal a process group; False when nobody is left in it."""
    try:
        os.killpg(pgid, number)
    except ProcessLookupError:
        return False
    except PermissionError:  # Somebody is there, under another user.
        return True
    return True


def end_children() -> None:
    """Kill and reap children until there are none; each one's orphans become children in turn."""
    while True:
        for pid in _children():
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.kill(pid, signal.SIGKILL)
        try:
            os.waitpid(-1, 0)
        except ChildProcessError:
            return


def _children() -> list[int]:
    me = os.getpid()
    return [int(entry) for entry in os.listdir("/proc") if entry.isdigit() and _stat(int(entry))[1:2] == [str(me)]]


def _stat(pid: int) -> list[str]:
    """Fields of /proc/<pid>/stat from the state on; empty when there is no such process."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return []


def start_time(pid: int) -> int | None:
    """When the process began, in ticks since boot: with the boot id, a pid that cannot be mistaken."""
    fields = _stat(pid)
    return int(fields[19]) if len(fields) > 19 else None


def boot_id() -> str:
    """What changes with every boot of this machine; empty where there is no such thing."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    except OSError:
        return ""


def is_same(pid: int, boot: str, started: int | None) -> bool:
    """Whether the process that had this pid, boot id and start time still runs (a zombie does not)."""
    fields = _stat(pid)
    return bool(fields) and fields[0] not in "ZX" and boot == boot_id() and started == start_time(pid)


def write_private(path: Path, content: dict[str, Any]) -> None:
    """Write JSON for our own user only; a reader sees the old file or the new one, never half."""
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    with open(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:
        json.dump(content, file)
    draft.replace(path)
