"""The same protocol from Node without packages, and the examples of the repository."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path

import playwright
import pytest

from tests.servers.stack import House
from tests.waiting import wait_until
from wardroom.client import Client

pytestmark = [pytest.mark.stack, pytest.mark.surface, pytest.mark.timeout(300)]

HERE = Path(__file__).parent
ROOT = HERE.parents[2]


def node() -> str:
    """Node 20 or newer: the machine's own, else the one that Playwright brings."""
    own = shutil.which("node")
    if own:
        version = subprocess.run([own, "--version"], capture_output=True, text=True, check=True).stdout
        if int(version.lstrip("v").split(".")[0]) >= 20:
            return own
    return str(Path(playwright.__file__).parent / "driver" / "node")


NODE = node()


@pytest.mark.parametrize("dialect", ["v1", "plain"])
def test_a_script_in_node_holds(house: House, dialect: str) -> None:
    script = HERE / "node" / f"{dialect}.mjs"
    env = {"PATH": os.environ["PATH"], "WARDROOM_URL": house.url, "WARDROOM_KEY": house.key}
    command = [NODE, "--experimental-websocket", "--no-warnings", str(script)]
    done = subprocess.run(command, env=env, capture_output=True, text=True, timeout=240)
    promised = re.findall(r'^  "?([^":]+(?:: [^"]+)?)"?: async', script.read_text(), re.MULTILINE)
    assert done.returncode == 0, done.stdout + done.stderr
    assert [line.removeprefix("ok ") for line in done.stdout.splitlines()] == promised


EXAMPLES = {
    "python": ["python", str(ROOT / "examples/python_child/child.py")],
    "node": [NODE, "--experimental-websocket", str(ROOT / "examples/node_plain_child/child.mjs")],
}


@pytest.mark.parametrize("example", EXAMPLES)
def test_an_example_child_greets_what_was_approved(house: House, example: str) -> None:
    client = Client(house.url, house.key)
    session = client.spawn("World", command=EXAMPLES[example])
    [asked] = wait_until(lambda: list(client.approvals(session=session["id"], status="pending")), 60)
    client.decide(asked, "edit", arguments={"name": "wide World"})
    over = client.wait_session(session["id"], 60)
    assert (over["status"], over["result"]) == ("completed", "Hello, wide World!"), over


@pytest.mark.parametrize("example", EXAMPLES)
def test_an_example_child_takes_no_for_an_answer(house: House, example: str) -> None:
    client = Client(house.url, house.key)
    session = client.spawn("World", command=EXAMPLES[example])
    [asked] = wait_until(lambda: list(client.approvals(session=session["id"], status="pending")), 60)
    client.decide(asked, "deny")
    over = client.wait_session(session["id"], 60)
    assert over["status"] == "completed"
    assert "denied" in over["result"]
