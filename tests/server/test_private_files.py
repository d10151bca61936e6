"""The data folder is for its owner alone, whatever the umask was and is."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from server.data_folder import DataFolder

pytestmark = pytest.mark.once


@pytest.fixture(autouse=True)
def careless_umask() -> Iterator[None]:
    before = os.umask(0o000)
    yield
    os.umask(before)


def open_to_others(folder: Path) -> dict[str, str]:
    found = {path: stat.S_IMODE(path.lstat().st_mode) for path in (folder, *folder.rglob("*"))}
    return {str(path): oct(mode) for path, mode in found.items() if mode & 0o077}


def test_all_that_a_first_start_makes_is_closed_to_others(tmp_path: Path) -> None:
    folder = DataFolder(tmp_path / "data")
    folder.create()
    write = "import sqlite3, sys; c = sqlite3.connect(sys.argv[1]); c.execute('PRAGMA journal_mode=WAL'); "
    hold = "c.execute('CREATE TABLE t(x)'); c.commit(); import os; os._exit(0)"
    subprocess.run([sys.executable, "-c", write + hold, str(folder.database)], check=True)
    assert Path(f"{folder.database}-wal").exists()
    assert open_to_others(folder.path) == {}


def test_a_start_closes_what_an_older_one_left_open_and_touches_nothing_of_a_child(tmp_path: Path) -> None:
    folder = DataFolder(tmp_path / "data")
    child = folder.work / "a-session"
    (child / "bin").mkdir(parents=True)
    (folder.path / "supervisors").mkdir()
    script, outside = child / "bin" / "tool", tmp_path / "outside"
    for path in (folder.database, folder.path / "supervisors" / "x.json", script, outside):
        path.write_text("x")
        path.chmod(0o755)
    (folder.path / "link").symlink_to(outside)
    folder.create()
    left_open = open_to_others(folder.path)
    left_open.pop(str(folder.path / "link"))  # A link has no mode of its own.
    assert set(left_open) == {str(child / "bin"), str(script)}
    assert stat.S_IMODE(outside.stat().st_mode) == 0o755
