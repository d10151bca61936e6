"""Each program of examples/adapters works, with its real library and a fake model."""

from __future__ import annotations

import asyncio
import inspect
import json
import runpy
import stat
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from tests.conftest import RUN
from tests.e2e.conformance.adapters.harnesses import FAKE_CLAUDE
from tests.house.sources import ROOT
from tests.servers.stack import House
from tests.waiting import wait_until
from wardroom import Client

pytestmark = [pytest.mark.stack, pytest.mark.surface, pytest.mark.timeout(300)]
EXAMPLES = ROOT / "examples/adapters"
# They meet the database only through REST.
NAMES = sorted(path.stem for path in EXAMPLES.glob("*.py")) if RUN.backend == "sqlite" else ["gated_function"]


@pytest.fixture
def threads() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor() as running:
        yield running


def arguments_of(name: str, folder: Path) -> list[str]:
    """Return the arguments of a program, which name a conversation of its own."""
    own = f"example {uuid4().hex}"
    calls = json.dumps([{"id": "call_1", "tool": "delete_file", "input": {"path": "/tmp/report.txt"}}])
    special = {
        "gated_function": ["/tmp/report.txt"],
        "openai_agents_agent": [own, str(folder / "run.json")],
        "claude_agent": [calls, own],
    }
    return special.get(name, [own])


@pytest.mark.parametrize("name", NAMES)
def test_an_example_deletes_the_file_that_a_person_chose(
    house: House,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
    threads: ThreadPoolExecutor,
    name: str,
) -> None:
    program = tmp_path / "claude"
    program.write_text(f'#!/bin/sh\nexec {sys.executable} {FAKE_CLAUDE} "$@"\n')
    program.chmod(program.stat().st_mode | stat.S_IXUSR)
    for word, value in {"WARDROOM_URL": house.url, "WARDROOM_KEY": house.key, "CLAUDE": str(program)}.items():
        monkeypatch.setenv(word, value)
    main = runpy.run_path(str(EXAMPLES / f"{name}.py"))["main"]

    def run() -> None:
        done: Any = main(*arguments_of(name, tmp_path))
        if inspect.iscoroutine(done):
            asyncio.run(done)

    client = Client(house.url, house.key)
    before = {each["id"] for each in client.approvals(status="pending")}
    running = threads.submit(run)
    fresh = wait_until(lambda: [each for each in client.approvals(status="pending") if each["id"] not in before])
    assert (fresh[0]["tool_name"], fresh[0]["permission"], fresh[0]["risk"]) == ("delete_file", "delete", "high")
    client.decide(fresh[0], "edit", arguments={"path": "/tmp/other.txt"})
    running.result(60)
    assert "deleted /tmp/other.txt" in capsys.readouterr().out
    assert client.approval(fresh[0]["id"])["outcome"] == "ran"


def test_the_configuration_for_mcp_names_the_server() -> None:
    [server] = json.loads((EXAMPLES / "mcp.json").read_text())["mcpServers"].values()
    assert server["args"][:2] == ["-m", "wardroom.mcp"]
