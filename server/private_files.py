"""Nobody but its owner reads a file of the data folder, whatever the umask is and whatever an older version left."""

from __future__ import annotations

import contextlib
import os
import stat
from pathlib import Path

#: What is in a child's own folder belongs to the child: only the folder itself is closed.
CHILDREN = "work"


def make_file(path: Path) -> None:
    """Make an empty 0600 file, unless it is there. SQLite gives its -wal, -shm and journal the mode of the database."""
    os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))


def close_to_others(folder: Path) -> None:
    """Give every folder in it 0700 and every file 0600, the owner's own bits kept. Links are not followed."""
    for place, folders, files in os.walk(folder):
        for name in (*folders, *files):
            _close(Path(place, name))
        if Path(place) == folder / CHILDREN:
            folders.clear()


def _close(path: Path) -> None:
    with contextlib.suppress(FileNotFoundError):  # A part that still runs may take its files away.
        mode = path.lstat().st_mode
        if not stat.S_ISLNK(mode) and mode & 0o077:
            path.chmod(stat.S_IMODE(mode) & 0o700)
