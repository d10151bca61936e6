"""Runner plug-ins: a package with a runner, installed from its wheel, and a host of real processes."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.servers.stack import House, Service
from tests.waiting import wait_until
from wardroom.client import Client, Problem

pytestmark = [pytest.mark.stack, pytest.mark.surface, pytest.mark.timeout(300)]

PROJECT = """
[build-system]
requires = ["setuptools"]
build-backend = "setuptools.build_meta"

[project]
name = "acme-runner"
version = "1.0"

[project.entry-points."wardroom.runners"]
acme = "acme_runner:Acme"
broken = "acme_runner:Missing"

[tool.setuptools]
py-modules = ["acme_runner"]
"""
ROLES = {"acme": {"runner": "acme", "retries": 1}, "shell": {"command": ["true"]}}
FAST = {"connection_grace_secs": 3, "outage_gap_secs": 30, "heartbeat_secs": 1, "sweep_secs": 1, "cancel_grace_secs": 2}


@pytest.fixture(scope="session")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder into which pip has installed the wheel of the package."""
    source, site = tmp_path_factory.mktemp("acme"), tmp_path_factory.mktemp("site")
    (source / "pyproject.toml").write_text(PROJECT)
    (source / "acme_runner.py").write_text(Path(__file__).with_name("acme_runner.py").read_text())
    build = "import setuptools.build_meta as b; print(b.build_wheel('.'))"
    subprocess.run([sys.executable, "-c", build], cwd=source, check=True, capture_output=True)
    [wheel] = source.glob("*.whl")
    pip = [sys.executable, "-m", "pip", "install", "-q", "--no-index", "--no-deps", "--target", str(site), str(wheel)]
    subprocess.run(pip, check=True, capture_output=True)
    return site


class Acme:
    """A Wardroom with a host of runners."""

    def __init__(self, house: House, folder: Path) -> None:
        self.house, self.folder = house, folder
        self.client = Client(house.url, house.key)

    def spawn(self, assignment: str, **order: Any) -> str:
        return str(self.client.spawn(assignment, **({} if "metadata" in order else {"runner": "acme"}) | order)["id"])

    def ended(self, id: str, timeout: float = 60) -> dict[str, Any]:
        return self.client.wait_session(id, timeout)

    def types(self, id: str) -> list[str]:
        return [event["type"] for event in self.client.get(f"sessions/{id}/events?limit=500")["results"]]

    def begun(self, id: str) -> None:
        wait_until(lambda: "round_started" in self.types(id), 60, why="the job has emitted its first event")

    def stops(self) -> str:
        file = self.folder / "stops"
        return file.read_text() if file.exists() else ""


@pytest.fixture
def acme(stack: Callable[..., House], site: Path, tmp_path: Path) -> Callable[..., Acme]:
    def start(**timings: Any) -> Acme:
        for name in ("pipe", "never"):
            os.mkfifo(tmp_path / name)
        env = {"PYTHONPATH": str(site), "ACME_FOLDER": str(tmp_path)}
        house = stack(runners=True, env=env, timings={**FAST, "roles": ROLES, **timings})
        return Acme(house, tmp_path)

    return start


def test_jobs_run_side_by_side_and_no_bad_one_stops_another(acme: Callable[..., Acme]) -> None:
    wardroom = acme()
    assert "the runner broken cannot be used on this host: AttributeError" in wardroom.house.logs("runners")

    # It chose itself, by should_handle, and sees the job.
    id = wardroom.spawn("describe", metadata={"engine": "acme"}, disabled_tools=["rm"], model="m", provider="p")
    ended = wardroom.ended(id)
    assert (ended["status"], ended["runner"]) == ("completed", "acme"), ended
    seen = json.loads(ended["result"])
    assert (seen["session"], seen["root"], seen["depth"], seen["attempt"]) == (id, id, 0, 1)
    assert (seen["disabled_tools"], seen["metadata"]) == (["rm"], {"engine": "acme"})
    assert (seen["model"]["provider"], seen["model"]["model"]) == ("p", "m")
    assert (Path(seen["workspace"]) / "seen").read_text() == "yes"
    sent = [event for event in wardroom.client.get(f"sessions/{id}/events?limit=500")["results"] if event["seq"]]
    assert [(e["seq"], e["type"]) for e in sent] == [(1, "round_started"), (2, "tool_started"), (3, "tool_finished")]

    steady = wardroom.spawn("hold")
    wardroom.begun(steady)
    bad = {
        "fail token": "ValueError: no such thing: token",
        "leave": "the runner raised SystemExit: 3",
        "huge": "a result has at most 131072 bytes",
        "odd": "the result cannot be kept",
        "missing": "has no attribute 'missing'",
        "block": "the runner blocked the event loop for",
    }
    for assignment, why in bad.items():
        ended = wardroom.ended(wardroom.spawn(assignment))
        assert ended["status"] == "error", ended
        assert why in ended["error"], ended
        assert ended["attempt"] == 1
    assert wardroom.ended(wardroom.spawn("leave_aside"))["result"] == "True"
    said = wardroom.house.logs("runners")
    assert "a job blocks the event loop of all jobs; it is here:" in said
    assert '(FOLDER / "never").read_text()' in said, "the log shows the place"
    assert "a task of a runner called sys.exit(4): ignored" in said

    # Messages reach a job, and it can spawn.
    listening = wardroom.spawn("listen")
    wardroom.begun(listening)
    asked = wardroom.client.post(f"sessions/{listening}/ask", {"question": "what now?", "timeout_secs": 20})
    assert "what now? listening" in str(asked)
    wardroom.client.message(listening, {"text": "hello"})
    assert json.loads(wardroom.ended(listening)["result"]) == ["hello"]
    parent = wardroom.ended(wardroom.spawn("delegate"))
    assert wardroom.ended(parent["result"])["parent"] == parent["id"]

    state = wardroom.client.session(steady)
    assert (state["status"], state["live"], state["attempt"]) == ("running", True, 1), "nothing has stopped this one"
    with pytest.raises(Problem, match=r"must be one of process, external, acme, broken, and is 'nobody'"):
        wardroom.spawn("x", runner="nobody")


def test_the_job_of_a_killed_host_is_lost_and_tried_again(acme: Callable[..., Acme]) -> None:
    wardroom = acme()
    once, twice = wardroom.spawn("hold"), wardroom.spawn("hold", runner=None, role="acme")
    for id in (once, twice):
        wardroom.begun(id)
    wardroom.house.kill("runners")
    wait_until(lambda: wardroom.client.session(twice)["attempt"] == 2, 60, why="the attempt is lost, and tried again")
    ended = wardroom.ended(once)
    assert (ended["status"], ended["error"]) == ("error", "connection lost for 3 s")
    assert wardroom.client.session(twice)["status"] == "queued", "no host is there to claim it"
    wardroom.house.start("runners")
    ended = wardroom.ended(twice)
    assert (ended["status"], ended["result"], ended["retries_left"]) == ("completed", "attempt 2", 0)


def test_a_job_is_told_to_stop_asks_and_outlives_the_web_process(acme: Callable[..., Acme]) -> None:
    # The web process needs longer than the short grace to start on a loaded machine.
    wardroom = acme(check_interval_secs=1, connection_grace_secs=60)
    client = wardroom.client
    stepping = wardroom.spawn("steps")
    pipe = open(wardroom.folder / "pipe", "w", buffering=1)  # noqa: SIM115 - its end is the end of the job
    pipe.write("one\n")
    wardroom.begun(stepping)

    cancelled = wardroom.spawn("hold")
    wardroom.begun(cancelled)
    client.cancel(cancelled, "not needed")
    ended = wardroom.ended(cancelled)
    assert (ended["status"], ended["result"], ended["error"]) == ("cancelled", "stopped", "not needed")
    wait_until(lambda: f"{cancelled} cancelled: not needed" in wardroom.stops(), 20)

    asking = wardroom.spawn("asking")
    wait_until(lambda: client.get(f"approvals?session={asking}&status=pending")["results"], 20)
    client.cancel(asking, "not needed")
    assert wardroom.ended(asking)["result"] == "Cancelled True cancelled"

    slow = wardroom.spawn("hold", runner="acme", metadata={"child_watchdog.max_total_secs": 2})
    ended = wardroom.ended(slow)
    assert ended["status"] == "timeout", ended
    wait_until(lambda: f"{slow} watchdog: Child session timed out after 2" in wardroom.stops(), 20)

    deaf = wardroom.spawn("deaf")
    wardroom.begun(deaf)
    client.cancel(deaf)
    assert wardroom.ended(deaf)["status"] == "cancelled"
    wait_until(lambda: "ignores that it was cancelled: its task is dropped" in wardroom.house.logs("runners"), 20)
    assert (wardroom.folder / "deaf").exists()

    asking = wardroom.spawn("ask")
    pending = lambda: next(client.approvals(status="pending", session=asking), None)  # noqa: E731
    client.decide(wait_until(pending, 60), "approve")
    assert wardroom.ended(asking)["result"] == "deployed to prod"

    wardroom.house.kill("web1")
    pipe.write("two\nthree\n")
    wardroom.house.start("web1")
    pipe.close()
    ended = wardroom.ended(stepping)
    assert (ended["status"], ended["result"], ended["attempt"]) == ("completed", "3", 1), ended["error"]
    events = client.get(f"sessions/{stepping}/events?limit=500")["results"]
    assert [event["payload"]["round"] for event in events if event["type"] == "round_started"] == [1, 2, 3]


def test_a_host_that_is_asked_to_stop_records_it_and_takes_no_more_than_its_places(acme: Callable[..., Acme]) -> None:
    wardroom = acme(jobs_per_runner_host=2)
    first, again, waiting = wardroom.spawn("hold"), wardroom.spawn("hold", runner=None, role="acme"), ""
    for id in (first, again):
        wardroom.begun(id)
    waiting = wardroom.spawn("describe")
    other = wardroom.client.spawn("x", role="shell")["id"]
    assert wardroom.ended(other)["error"] == "exited with status 0", "it ran, in a process"
    assert wardroom.client.session(waiting)["status"] == "queued", "both places are taken"
    wardroom.house.stop("runners")
    ended = wardroom.ended(first, 5)
    assert (ended["status"], ended["error"]) == ("error", "stopped with the server")
    assert "stopping: stopped with the server" in wardroom.stops()
    state = wardroom.client.session(again)
    assert (state["status"], state["attempt"], state["retries_left"]) == ("queued", 2, 0)
    wardroom.house.start("runners")
    assert wardroom.ended(again)["result"] == "attempt 2"
    assert wardroom.ended(waiting)["status"] == "completed"


def test_up_starts_a_host_where_a_runner_is_installed_and_stops_its_jobs(
    houses: Callable[..., Any], only_embedded: None, site: Path, tmp_path: Path
) -> None:
    house = houses(PYTHONPATH=str(site), ACME_FOLDER=str(tmp_path), WARDROOM_TIMINGS=json.dumps({"roles": ROLES}))
    house.start()
    wait_until(lambda: "runners | hosting acme: up to 200 jobs at once" in house.said())
    assert "starting web, worker, beat, runners ..." in house.said()
    wardroom = Acme(house, tmp_path)
    first, again = wardroom.spawn("hold"), wardroom.spawn("hold", runner=None, role="acme")
    for id in (first, again):
        wardroom.begun(id)
    assert house.stop() == 0
    house.start()
    ended = wardroom.ended(first)
    assert (ended["status"], ended["error"]) == ("error", "stopped with the server")
    assert wardroom.ended(again)["result"] == "attempt 2"


def test_of_three_hosts_one_runs_each_job(acme: Callable[..., Acme]) -> None:
    wardroom = acme()
    for name in ("runners2", "runners3"):
        wardroom.house.services[name] = Service(list(wardroom.house.services["runners"].command))
        wardroom.house.start(name)
    ids = [wardroom.spawn("describe") for _ in range(30)]
    for id in ids:
        ended = wardroom.ended(id)
        assert (ended["status"], ended["attempt"]) == ("completed", 1)
    ran = (wardroom.folder / "ran").read_text().split()
    assert sorted(ran) == sorted(ids)
