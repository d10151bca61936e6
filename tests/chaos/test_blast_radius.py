"""One caller does the worst that the limits allow while another works. Run by `make chaos`.

Printed for each attack: by how much the greediest web process grew over its rest, the others' p95, and the
attacker's answers. The ceilings are those that docs/operations.md promises. CHAOS_ATTACKS names some of the
attacks, with commas between them.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from typing import Any

import httpx
import pytest

from tests.chaos.attacks import ATTACKS
from tests.chaos.bystander import Bystander
from tests.chaos.forms import Form, as_json, deployed, embedded, forget_peaks
from tests.servers.stack import House
from tests.waiting import wait_until

pytestmark = [pytest.mark.stack, pytest.mark.chaos, pytest.mark.timeout(1800)]

CEILING_MIB = 256
P95_SECS = {"deployed": 0.25, "embedded": 1.0}
#: What no caller is ever answered, whatever it does; the last two are what an attacker finds wrong itself.
FAULTS = {"500", "502", "504", "close 1011", "pages over 2 MiB", "events lost"}
CHOSEN = [name for name in os.environ.get("CHAOS_ATTACKS", "").split(",") if name] or list(ATTACKS)


@pytest.fixture
def form(backend: str, stack: Callable[..., House]) -> Iterator[Form]:
    """Deployed where the tests run on PostgreSQL, embedded where they run on SQLite."""
    if backend == "postgres":
        yield deployed(stack)
    else:
        with embedded() as running:
            yield running


@pytest.mark.slice
@pytest.mark.xdist_group("chaos")
def test_the_worst_that_one_caller_can_do_neither_stops_nor_slows_nor_swells_anything(form: Form) -> None:
    warm_up(form)
    rest = form.rest()
    rows = [attacked(form, name, rest) for name in CHOSEN]
    assert [row["line"] for row in rows if row["faults"]] == []
    assert [row["line"] for row in rows if row["mib"] > CEILING_MIB] == []
    assert [row["line"] for row in rows if row["p95"] > P95_SECS[form.name]] == []
    wait_until(lambda: healthy(form), 60, why="everything is well again")


def warm_up(form: Form) -> None:
    """Make a web process load its modules, so that they count as its memory at rest."""
    with Bystander(form) as somebody:
        wait_until(lambda: len(somebody.took) > 200, 60)


def attacked(form: Form, name: str, rest: dict[int, int]) -> dict[str, Any]:
    """Run one attack beside a bystander, and return its cost as a row of the table."""
    command = [sys.executable, "-m", "tests.chaos.attacks", name]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as attacker:
        assert attacker.stdin is not None and attacker.stdout is not None
        attacker.stdin.write(as_json(form))
        attacker.stdin.close()
        assert attacker.stdout.readline() == "ready\n", name
        forget_peaks(list(rest))
        with Bystander(form) as somebody:
            told = attacker.stdout.readline()
        assert attacker.wait(30) == 0, name
    mib, answers = form.peak_over(rest), json.loads(told)
    faults = sorted(FAULTS & answers.keys()) + somebody.bad
    p95 = somebody.p95
    line = (
        f"{name:<20} {mib:6.0f} MiB  p95 {p95 * 1000:5.0f} ms of {len(somebody.took)} calls  {answers} {faults or ''}"
    )
    print(f"\n{form.name}: {line}", flush=True)
    return {"line": line, "mib": mib, "p95": p95, "faults": faults}


def healthy(form: Form) -> bool:
    return all(httpx.get(f"{url}/readyz", timeout=10).json()["status"] == "ok" for url in form.urls)
