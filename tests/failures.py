"""A pytest plugin: `--failures FILE` writes the id of each test that failed, one on a line.

With pytest-xdist the reports of all workers arrive at the controller, which alone writes.
"""

from __future__ import annotations

from pathlib import Path

import pytest


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--failures", type=Path, help="write the ids of failed tests to this file")


def pytest_configure(config: pytest.Config) -> None:
    file = config.getoption("--failures")
    if file is not None and not hasattr(config, "workerinput"):
        config.pluginmanager.register(Failures(file))


class Failures:
    """The tests that failed in any phase, each once."""

    def __init__(self, file: Path) -> None:
        self.file = file
        self.ids: dict[str, None] = {}

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if report.failed:
            self.ids[report.nodeid] = None

    def pytest_sessionfinish(self) -> None:
        self.file.write_text("".join(f"{test}\n" for test in self.ids))
