"""Reliable ends of processes: their identity over time, their orphans, their parent's death.

Standard library only. Linux has all system calls that this needs. Elsewhere the missing parts do nothing.
"""

import contextlib
import ctypes
import json
import os
import signal
import time
from pathlib import Path
from typing import Any

_PR_SET_PDEATHSIG = 1
_PR_SET_CHILD_SUBREAPER = 36


try:
    # Loaded once: a lookup between fork and exec is unsafe.
    _prctl: Any = ctypes.CDLL(None, use_errno=True).prctl
except (OSError, AttributeError):
    _prctl = None
_SIGNALS = sorted(signal.valid_signals() - {signal.SIGKILL, signal.SIGSTOP})


def die_with(parent: int, number: int = signal.SIGKILL) -> None:
    """Ask the kernel for a signal when the parent ends. For use between fork and exec."""
    if _prctl is None:
        return
    _prctl(_PR_SET_PDEATHSIG, int(number), 0, 0, 0)
    # The parent may have died before the line above.
    if os.getppid() != parent:
        os.kill(os.getpid(), number)


def begin(parent: int) -> None:
    """Prepare a child between fork and exec: end with its parent, and reset signals as in a login shell.

    Ignored signals and the mask survive an exec: a shell's background command ignores SIGINT and SIGQUIT, Python
    ignores SIGPIPE, and our own parent may have blocked more.
    """
    die_with(parent)
    for number in _SIGNALS:
        signal.signal(number, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_SETMASK, ())


def adopt_orphans() -> None:
    """Become the parent of orphaned descendants, daemons included."""
    if _prctl is not None:
        _prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


def kill_group(pgid: int, number: int) -> bool:
    """Signal a process group. Return False when it is empty."""
    try:
        os.killpg(pgid, number)
    except ProcessLookupError:
        return False
    except PermissionError:  # The group has a member, under another user.
        return True
    return True


def end_children(within: float) -> list[str]:
    """Kill and reap children until there are none. Their orphans become children in turn.

    Processes of another user (a set-uid program) cannot be killed, and processes that hang in the kernel end late.
    After `within` seconds return the names of those that are left.
    """
    deadline, pause = time.monotonic() + within, 0.002
    while True:
        left = [pid for pid in _children() if _stat(pid)[:1] not in ([], ["Z"], ["X"])]
        for pid in left:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.kill(pid, signal.SIGKILL)
        with contextlib.suppress(ChildProcessError):
            while os.waitpid(-1, os.WNOHANG)[0]:
                pass
        if not _children():
            return []
        if time.monotonic() > deadline:
            return [described(pid) for pid in left]
        time.sleep(pause)
        pause = min(pause * 2, 0.05)


def described(pid: int) -> str:
    """Describe a process for people: its name, its number, its user."""
    try:
        name = Path(f"/proc/{pid}/comm").read_bytes().decode(errors="replace").strip()
        return f"{name} (pid {pid}, user {os.stat(f'/proc/{pid}').st_uid})"
    except OSError:
        return f"pid {pid}"


def _children() -> list[int]:
    me = os.getpid()
    return [int(entry) for entry in os.listdir("/proc") if entry.isdigit() and _stat(int(entry))[1:2] == [str(me)]]


def _stat(pid: int) -> list[str]:
    """Return the fields of /proc/<pid>/stat from the state on. Empty when there is no such process."""
    try:
        # The name before them may contain any bytes.
        raw = Path(f"/proc/{pid}/stat").read_bytes()
    except OSError:
        return []
    return raw.rpartition(b")")[2].decode(errors="replace").split()


def start_time(pid: int) -> int | None:
    """Return the start of the process, in ticks since boot. With the boot id it identifies a pid."""
    fields = _stat(pid)
    return int(fields[19]) if len(fields) > 19 else None


def boot_id() -> str:
    """Return an id that changes with every boot of this machine. Empty where there is none."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    except OSError:
        return ""


def is_same(pid: int, boot: str, started: int | None) -> bool:
    """Return True while the process with this pid, boot id and start time runs. A zombie does not count."""
    fields = _stat(pid)
    return bool(fields) and fields[0] not in "ZX" and boot == boot_id() and started == start_time(pid)


def write_private(path: Path, content: dict[str, Any]) -> None:
    """Write JSON for our own user only. A reader sees the old file or the new one, never a part."""
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    with open(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:
        json.dump(content, file)
    draft.replace(path)
