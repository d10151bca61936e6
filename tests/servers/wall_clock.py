"""A wall clock that a test sets for real processes, by Debian's libfaketime.

The monotonic clock does not change, as on a machine whose time is set.
"""

from __future__ import annotations

from pathlib import Path

LIBRARIES = sorted(Path("/usr/lib").glob("*/faketime/libfaketimeMT.so.1"))


class WallClock:
    """The wall clock of every process with this environment."""

    def __init__(self, file: Path) -> None:
        if not LIBRARIES:
            raise RuntimeError("libfaketime is not installed: run scripts/install_test_servers.sh as root")
        self.file = file
        self.set(0)
        self.environment = {
            "LD_PRELOAD": str(LIBRARIES[0]),
            "FAKETIME_TIMESTAMP_FILE": str(file),
            "FAKETIME_DONT_FAKE_MONOTONIC": "1",
            "FAKETIME_CACHE_DURATION": "1",
            "PYTHONPATH": str(Path(__file__).with_name("faked")),
        }

    def set(self, secs: int) -> None:
        """Set it so many seconds forward (negative: back) from the right time."""
        new = self.file.with_suffix(".new")
        new.write_text(f"{secs:+d}\n")
        new.replace(self.file)
