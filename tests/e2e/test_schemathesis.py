"""docs/openapi.yaml, tried on a running instance by a tester that knows nothing else of it."""

from __future__ import annotations

import re
import secrets
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.document import PATH
from tests.house.sources import ROOT
from tests.servers.stack import House

#: Both testers run at the same time, and everything together takes about a minute.
RUN_SECS = 45
#: No check and no operation is left out; a slow machine is no failure.
OPTIONS = [
    *("--phases", "examples,coverage,fuzzing,stateful"),
    *("--max-time", str(RUN_SECS)),
    *("--suppress-health-check", "too_slow"),
    *("--generation-database", "none"),
    *("--output-sanitize", "false"),
    *("--max-examples", "10"),
    "--no-color",
    "--no-shrink",
]


@pytest.mark.stack
@pytest.mark.timeout(RUN_SECS + 120)
def test_a_tester_finds_nothing_that_the_document_does_not_say(stack: Callable[..., House]) -> None:
    # Nobody launches what is spawned, and no call is held for long.
    house = stack(worker=False, beat=False, timings={"held_call_secs": 0.1})
    seeds = [1, secrets.randbits(64)]
    testers = [(seed, _tester(house, seed)) for seed in seeds]
    found = [(seed, *tester.communicate(timeout=RUN_SECS + 90), tester.returncode) for seed, tester in testers]
    for seed, out, errors, _ in found:
        print(f"--- seed {seed}\n{out[-20_000:]}\n{errors[-5000:]}")
    failed = [seed for seed, _, _, status in found if status != 0]
    assert not failed, f"schemathesis found failures with the seeds {failed}"
    assert all(int(re.findall(r"(\d+) generated", out)[-1]) > 100 for _, out, _, _ in found), (
        "hardly anything was tried"
    )


def _tester(house: House, seed: int) -> subprocess.Popen[str]:
    command = [Path(sys.executable).with_name("st"), "run", PATH, "--url", house.url, "--seed", str(seed), *OPTIONS]
    command += ["-H", f"Authorization: Bearer {house.key}"]
    return subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
