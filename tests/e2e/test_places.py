"""The bound of the queue, with real children: never more at once, in order, and in turns."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.orchestration.houses import FAST, attempts
from tests.servers.stack import House
from tests.waiting import wait_until

pytestmark = [pytest.mark.stack, pytest.mark.timeout(300)]

#: It notes its start, with the number of noted processes that live then, and ends when the test says so.
CHILD = """
import os, pathlib, sys, time
from wardroom.sync import Child

folder, name = pathlib.Path(sys.argv[1]), sys.argv[2]

def lives(pid):
    try:
        return pathlib.Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except OSError:
        return False

with open(folder / "starts", "a") as starts:
    starts.write(f"{name} {os.getpid()}\\n")
pids = [int(line.split()[1]) for line in (folder / "starts").read_text().splitlines()]
with open(folder / "counts", "a") as counts:
    counts.write(f"{sum(map(lives, pids))}\\n")
with Child.from_env() as child:
    while not (folder / f"end-{name}").exists():
        time.sleep(0.02)
    child.complete(name)
"""


class Bench:
    """Children of one house that note their starts in one folder."""

    def __init__(self, house: House, folder: Path) -> None:
        self.house, self.folder = house, folder
        (folder / "child.py").write_text(CHILD)

    def spawn(self, name: str, client: httpx.Client | None = None) -> str:
        command = ["python", str(self.folder / "child.py"), str(self.folder), name]
        order = {"assignment": name, "command": command}
        answer = (client or self.house.client()).post("/api/v1/sessions", json=order)
        assert answer.status_code == 201, answer.text
        return answer.json()["id"]

    def starts(self) -> list[str]:
        path = self.folder / "starts"
        return [line.split()[0] for line in path.read_text().splitlines()] if path.exists() else []

    def end(self, name: str) -> None:
        (self.folder / f"end-{name}").touch()

    def wait_started(self, number: int) -> None:
        wait_until(lambda: len(self.starts()) >= number, 60, why=f"{number} starts")

    def most(self) -> int:
        return max(map(int, (self.folder / "counts").read_text().split()))

    def status(self, id: str, client: httpx.Client | None = None) -> str:
        return (client or self.house.client()).get(f"/api/v1/sessions/{id}").json()["status"]

    def launched_at(self, id: str) -> str:
        """The time of its claim. Two workers may start two processes in another order than they claimed them."""
        (attempt,) = attempts(self.house, {"id": id})
        return str(attempt["launched_at"])

    def places(self) -> dict[str, Any]:
        return httpx.get(f"{self.house.url}/readyz").json()["parts"]["places"]


@pytest.fixture
def bench(stack: Callable[..., House], tmp_path: Path) -> Bench:
    """Two places, and a sweep that is too seldom to start anybody here."""
    slow = {**FAST, "sweep_secs": 60, "slow_sweep_secs": 60}
    return Bench(stack(timings={**slow, "processes_per_host": 2, "processes_per_core": 2}), tmp_path)


def test_of_five_children_two_run_at_once_and_all_complete_in_order(bench: Bench) -> None:
    names = [f"child-{number}" for number in range(5)]
    ids = [bench.spawn(name) for name in names]
    bench.wait_started(2)
    assert set(bench.starts()) == set(names[:2])
    assert [bench.status(id) for id in ids[2:]] == ["queued"] * 3
    assert bench.places() == {"ok": True, "queued": 3, "in_use": 2}
    for number, name in enumerate(names):
        bench.end(name)
        bench.wait_started(min(5, number + 3))
    wait_until(lambda: [bench.status(id) for id in ids] == ["completed"] * 5, 60, why="all five complete")
    assert bench.starts()[2:] == names[2:]
    assert bench.most() == 2
    wait_until(lambda: bench.places() == {"ok": True, "queued": 0, "in_use": 0}, 30, why="every place is free")


def test_a_long_queue_of_one_project_delays_another_by_one_place(bench: Bench) -> None:
    house = bench.house
    house.manage("shell", "-c", "from accounts.models import Project; Project.objects.create(slug='other')")
    key = house.manage("create_api_key", "--user", house.admin_name, "--project", "other").split()[-1]
    other = house.client(key=key)
    many = [f"many-{number}" for number in range(20)]
    ids = [bench.spawn(name) for name in many]
    bench.wait_started(2)
    bench.spawn("lone", other)
    bench.end(bench.starts()[0])
    bench.wait_started(3)
    assert bench.starts()[2] == "lone"
    bench.spawn("second", other)
    bench.end("lone")
    bench.wait_started(4)
    assert bench.starts()[3] == many[2]
    for name in [*many, "second"]:
        bench.end(name)
    wait_until(lambda: bench.places()["in_use"] == 0 and bench.places()["queued"] == 0, 120, why="all have run")
    assert bench.most() <= 2
    launched = [bench.launched_at(id) for id in ids]
    assert launched == sorted(launched)


def test_a_killed_child_frees_its_place(bench: Bench) -> None:
    for name in ("a", "b", "c"):
        bench.spawn(name)
    bench.wait_started(2)
    pid = int((bench.folder / "starts").read_text().split()[1])
    os.kill(pid, 9)
    bench.wait_started(3)
    assert bench.starts()[2] == "c"
