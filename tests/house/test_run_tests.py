"""The runner of the whole suite: reruns, flaky tests, and failures that it always reports."""

import subprocess
import sys
from pathlib import Path

import pytest

from tests.house.sources import ROOT

SUITE = """
from pathlib import Path
import pytest

def once(name):
    mark = Path(__file__).with_name(name)
    if not mark.exists():
        mark.touch()
        raise AssertionError("the first time")
"""
FLAKES = "\ndef test_flake_{n}(): once('flake-{n}')\n"


def suite(folder: Path, body: str) -> Path:
    (folder / "conftest.py").write_text("def pytest_addoption(parser): parser.addoption('--backend')\n")
    (folder / "test_suite.py").write_text(SUITE + body)
    return folder


def run(folder: Path, *backends: str, rerun: int = 3) -> tuple[int, list[str]]:
    command = [sys.executable, str(ROOT / "scripts/run_tests.py"), "--rerun", str(rerun), *backends]
    pytest_own = ["--rootdir", str(folder), "-c", "/dev/null", "-p", "no:cacheprovider", str(folder)]
    environment = {"PATH": "/usr/bin:/bin", "PYTHONPATH": str(ROOT), "PYTHONDONTWRITEBYTECODE": "1"}
    environment["PYTEST_DISABLE_PLUGIN_AUTOLOAD"] = "1"  # Most of the time of a run went into their imports.
    done = subprocess.run(
        [*command, "--", *pytest_own], cwd=folder, env=environment, capture_output=True, text=True, timeout=100
    )
    return done.returncode, [line for line in done.stdout.splitlines() if line.startswith("FLAKY")]


def test_a_run_without_failures_passes_and_names_nothing(tmp_path: Path) -> None:
    assert run(suite(tmp_path, "def test_good(): assert True"), "one", "two") == (0, [])


def test_what_passes_alone_is_named_and_the_run_passes(tmp_path: Path) -> None:
    folder = suite(tmp_path, "".join(FLAKES.format(n=n) for n in range(3)))
    named = [f"FLAKY test_suite.py::test_flake_{n} [one]" for n in range(3)]
    assert run(folder, "one", "two") == (0, named)


def test_more_than_three_failures_fail_the_run(tmp_path: Path) -> None:
    folder = suite(tmp_path, "".join(FLAKES.format(n=n) for n in range(4)))
    assert run(folder, "one") == (1, [])
    assert run(folder, "one") == (0, []), "each of them would have passed alone"


def test_what_fails_again_fails_the_run_and_nothing_is_called_flaky(tmp_path: Path) -> None:
    folder = suite(tmp_path, FLAKES.format(n=1) + "\ndef test_bad(): assert False\n")
    assert run(folder, "one") == (1, [])


@pytest.mark.parametrize("body", ["import nothing_by_this_name", "def not_a_test(): pass"])
def test_what_is_no_tests_failure_is_never_tried_again(tmp_path: Path, body: str) -> None:
    assert run(suite(tmp_path, body), "one") == (1, [])


def test_nothing_is_tried_again_unless_asked(tmp_path: Path) -> None:
    assert run(suite(tmp_path, FLAKES.format(n=1)), "one", rerun=0) == (1, [])


def test_a_test_that_breaks_in_its_teardown_counts_once(tmp_path: Path) -> None:
    body = """
@pytest.fixture
def torn():
    yield
    once('teardown')

def test_torn(torn):
    once('call')
"""
    folder = suite(tmp_path, body)
    assert run(folder, "one", rerun=1) == (0, ["FLAKY test_suite.py::test_torn [one]"])
