"""Installed packages that take part: found by their entry points in a real Wardroom."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.servers.stack import House
from tests.waiting import wait_until
from wardroom.client import Client

pytestmark = [pytest.mark.stack, pytest.mark.surface, pytest.mark.timeout(300)]

PLUGIN = """
import json, os
from pathlib import Path

FOLDER = Path(os.environ["ACME_FOLDER"])

def completed(completion):
    with open(FOLDER / "calls", "a") as calls:
        calls.write(json.dumps(completion) + "\\n")
    if not (FOLDER / "mended").exists():
        raise RuntimeError("not yet")

class Router:
    def provider_type_for(self, ref):
        return "openai"

    def route(self, ref):
        return ref
"""
ENTRY_POINTS = """[wardroom.completion]
acme = acme_plugin:completed
[wardroom.providers]
acme = acme_plugin:Router
"""


@pytest.fixture
def house(stack: Callable[..., House], tmp_path: Path) -> House:
    """A Wardroom beside which a package is installed, as pip leaves it."""
    (tmp_path / "acme_plugin.py").write_text(PLUGIN)
    info = tmp_path / "acme_plugin-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: acme-plugin\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(ENTRY_POINTS)
    return stack(env={"PYTHONPATH": str(tmp_path), "ACME_FOLDER": str(tmp_path)})


def test_a_handler_is_called_by_a_worker_and_again_after_it_failed(house: House, tmp_path: Path) -> None:
    client = Client(house.url, house.key)
    id = client.spawn("! true", role="runbook")["id"]
    assert client.wait_session(id, 60)["status"] == "completed"
    calls = tmp_path / "calls"
    wait_until(calls.exists, 60)
    (tmp_path / "mended").touch()
    wait_until(lambda: len(calls.read_text().splitlines()) >= 2, 120, why="the failed call is made again")
    told = [json.loads(line) for line in calls.read_text().splitlines()]
    assert {(each["child"], each["status"], each["attempt"]) for each in told} == {(id, "completed", 1)}
