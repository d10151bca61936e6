"""run_tests.py [--rerun N] BACKEND... [-- PYTEST_ARGUMENT...]: run the tests on each backend in turn.

Every backend runs, also when the one before failed. With `--rerun N`, up to N failed tests run once more, each alone
in a process of its own. When all of them pass then, the run passes, and its last lines name each as `FLAKY <test>`:
a flake is a fault whose race has to be found, but it says nothing about the change at hand.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
from pathlib import Path

#: pytest's own exit status for "some tests failed"; any other is no test's fault, and is never tried again.
TESTS_FAILED = 1


def main(arguments: list[str]) -> int:
    end = arguments.index("--") if "--" in arguments else len(arguments)
    passed_on = arguments[end + 1 :]
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rerun", type=int, default=0, metavar="N")
    parser.add_argument("backends", nargs="+")
    wanted = parser.parse_args(arguments[:end])
    failed: list[tuple[str, str]] = []
    broken = False
    for backend in wanted.backends:
        print(f"Testing on {backend} ...", flush=True)
        status, tests = run(backend, passed_on)
        failed += [(backend, test) for test in tests]
        broken = broken or status not in (0, TESTS_FAILED) or (status == TESTS_FAILED and not tests)
    if broken or len(failed) > wanted.rerun:
        return 1
    return rerun(failed)


def rerun(failed: list[tuple[str, str]]) -> int:
    """Run each once more, alone: 0 when all of them pass now."""
    status = 0
    for backend, test in failed:
        print(f"Once more, alone, on {backend}: {test}", flush=True)
        status = max(status, run(backend, [test])[0])
    if failed and status == 0:
        print("\n".join(f"FLAKY {test} [{backend}]" for backend, test in failed), flush=True)
    return 1 if status else 0


def run(backend: str, arguments: list[str]) -> tuple[int, list[str]]:
    """pytest's exit status, and the ids of the tests that failed."""
    with tempfile.TemporaryDirectory() as folder:
        failures = Path(folder) / "failures"
        command = [sys.executable, "-m", "pytest", "-p", "tests.failures", "--failures", str(failures)]
        status = subprocess.run([*command, "--backend", backend, *arguments]).returncode
        return status, failures.read_text().splitlines() if failures.exists() else []


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
