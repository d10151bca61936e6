"""Reads of real processes through /proc. Zombies count as gone, because nobody can run them again."""

import os
from pathlib import Path


def alive(pid: int) -> bool:
    """Return True if it runs, or could. A zombie cannot."""
    return _stat(pid)[:1] not in ([], ["Z"], ["X"])


def parent(pid: int) -> int:
    found = _stat(pid)
    return int(found[1]) if found else 0


def _stat(pid: int) -> list[str]:
    """State, parent, group, ... of a process; empty when there is none."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return []


def argv(pid: int) -> list[str]:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().decode(errors="replace").rstrip("\0").split("\0")
    except OSError:
        return []


def everybody() -> list[int]:
    return [int(name) for name in os.listdir("/proc") if name.isdecimal()]


def children(pid: int) -> list[int]:
    return [one for one in everybody() if parent(one) == pid and alive(one)]


def descendants(pid: int) -> list[int]:
    """Return its living descendants, without orphans that init adopted."""
    found: list[int] = []
    for child in children(pid):
        found += [child, *descendants(child)]
    return found


def mentioning(text: str) -> list[int]:
    """Living processes that have `text` somewhere in their arguments or their environment."""
    return [pid for pid in everybody() if pid != os.getpid() and alive(pid) and text in _told(pid)]


def _told(pid: int) -> str:
    try:
        environment = Path(f"/proc/{pid}/environ").read_bytes().decode(errors="replace")
    except OSError:
        environment = ""
    return "\n".join(argv(pid)) + "\n" + environment
