"""Make the files of the data folder private to their owner, for any umask and for files of older versions."""

from __future__ import annotations

import contextlib
import os
import stat
from pathlib import Path

#: Files in a child's own folder belong to the child. Only the folder itself is closed.
CHILDREN = "work"


def make_file(path: Path) -> None:
    """Create an empty 0600 file, unless it exists. SQLite gives its -wal, -shm and journal the mode of the database."""
    os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))


def close_to_others(folder: Path) -> None:
    """Set every folder to 0700 and every file to 0600, keeping the owner's own bits. Links are not followed."""
    for place, folders, files in os.walk(folder):
        for name in (*folders, *files):
            path = Path(place, name)
            with contextlib.suppress(FileNotFoundError):  # A running part may remove its files.
                mode = path.lstat().st_mode
                if not stat.S_ISLNK(mode) and mode & 0o077:
                    path.chmod(stat.S_IMODE(mode) & 0o700)
        if Path(place) == folder / CHILDREN:
            folders.clear()
