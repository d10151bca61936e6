"""Waits that a program or a server leaves in the middle: nothing is decided, consumed or lost by that."""

from __future__ import annotations

import asyncio
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from tests.e2e.conformance.conftest import Spawn
from tests.servers.databases import ROOT
from tests.servers.stack import House
from tests.waiting import wait_until, wait_until_async
from wardroom import AsyncClient, Child, Client, human_as_tool, require_approval
from wardroom.client import Problem

pytestmark = [pytest.mark.stack, pytest.mark.surface, pytest.mark.timeout(300)]

PROGRAM = """
import asyncio, signal, sys
from wardroom import AsyncClient, Client, require_approval
# A shell that starts the tests in the background has them ignore it.
signal.signal(signal.SIGINT, signal.default_int_handler)
way, url, key, host, log = sys.argv[1:]

def run(host):
    with open(log, "a") as file:
        file.write(host + "\\n")

if way == "plain":
    require_approval(Client(url, key), tool_name="deploy", request_id=lambda said: said["host"])(run)(host)
else:
    async def main():
        async with AsyncClient(url, key) as client:
            @require_approval(client, tool_name="deploy", request_id=lambda said: said["host"])
            async def deploy(host):
                run(host)
            await deploy(host)
    asyncio.run(main())
"""


@pytest.fixture
def client(house: House) -> Client:
    return Client(house.url, house.key)


def waited_for(client: Client, word: str) -> Callable[[], Any]:
    """Return a look for the pending request of this host or tool, once a call waits for it."""

    def look() -> dict[str, Any] | None:
        for each in client.approvals(status="pending"):
            if word in (each["tool_name"], (each["arguments"] or {}).get("host")) and each["waiters"]:
                return each
        return None

    return look


def untouched(client: Client, asked: dict[str, Any]) -> bool:
    now = client.approval(asked["id"])
    return (now["status"], now["consumed_at"], now["fallback"], now["version"]) == ("pending", None, None, 1)


@contextmanager
def program(house: House, way: str, host: str, log: Path) -> Iterator[subprocess.Popen[str]]:
    command = [sys.executable, "-c", PROGRAM, way, house.url, house.key, host, str(log)]
    with subprocess.Popen(command, cwd=ROOT, stderr=subprocess.PIPE, text=True) as process:
        try:
            yield process
        finally:
            process.kill()


@pytest.mark.parametrize("way", ["plain", "asyncio"])
def test_a_program_that_is_interrupted_or_killed_goes_on_with_its_request(
    house: House, client: Client, tmp_path: Path, way: str
) -> None:
    host, log = uuid4().hex, tmp_path / "ran"
    ids = set()
    for blow in (signal.SIGINT, signal.SIGKILL):
        with program(house, way, host, log) as first:
            asked = wait_until(waited_for(client, host))
            first.send_signal(blow)
            _, told = first.communicate(timeout=30)
            assert first.returncode != 0
            assert blow is signal.SIGKILL or "KeyboardInterrupt" in told
        assert untouched(client, asked) and not log.exists()
        ids.add(asked["id"])
    with program(house, way, host, log) as last:
        client.decide(wait_until(waited_for(client, host)), "approve")
        assert last.wait(30) == 0
    assert log.read_text().split() == [host]
    assert len(ids) == 1 and client.approval(ids.pop())["outcome"] == "ran"


async def test_a_cancelled_call_leaves_its_request_to_the_next_one(house: House, client: Client, spawn: Spawn) -> None:
    session = spawn()
    async with AsyncClient(house.url, house.key) as asynchronous, Child(session.identity) as child:
        ran: list[str] = []
        for each in (asynchronous, child):
            host = uuid4().hex

            @require_approval(each, tool_name="deploy", request_id=lambda said: said["host"])
            async def deploy(host: str) -> str:
                ran.append(host)
                return host

            first = asyncio.create_task(deploy(host))
            asked = await wait_until_async(lambda host=host: asyncio.to_thread(waited_for(client, host)))
            first.cancel()
            with pytest.raises(asyncio.CancelledError):
                await first
            assert await asyncio.to_thread(untouched, client, asked) and host not in ran
            second = asyncio.create_task(deploy(host))
            await asyncio.to_thread(client.decide, asked, "approve")
            assert (await second, ran.count(host)) == (host, 1)
            now = await wait_until_async(lambda id=asked["id"]: (it := client.approval(id))["outcome"] and it)
            assert now["outcome"] == "ran"
        await child.complete("done")


async def test_a_run_that_is_cancelled_has_an_unknown_outcome(house: House, client: Client) -> None:
    asked: list[dict[str, Any]] = []
    begun = asyncio.Event()
    async with AsyncClient(house.url, house.key) as asynchronous:

        @require_approval(asynchronous, on_asked=asked.append)
        async def deploy() -> None:
            begun.set()
            await asyncio.Event().wait()

        running = asyncio.create_task(deploy())
        await wait_until_async(lambda: asked)
        await asyncio.to_thread(client.decide, asked[0], "approve")
        await begun.wait()
        running.cancel()
        with pytest.raises(asyncio.CancelledError):
            await running
    now = client.approval(asked[0]["id"])
    assert (now["status"], now["outcome"]) == ("approved", "unknown")
    assert "CancelledError" in client.approval_outcome(now["id"])["notes"][0]["detail"]


@pytest.mark.parametrize(("question", "said"), [("x" * 100_000, "question"), ("a\0b", "NUL"), ("\ud800", "UTF-8")])
def test_a_question_that_cannot_be_stored_asks_nobody(client: Client, question: str, said: str) -> None:
    tool = f"ask-{uuid4().hex}"
    with pytest.raises(Problem, match=said) as refusal:
        human_as_tool(client, tool_name=tool)(question)
    assert refusal.value.status == 422
    assert not [each for each in client.approvals() if each["tool_name"] == tool]


def test_an_option_that_means_nothing_asks_nobody_and_runs_nothing(client: Client) -> None:
    ran: list[str] = []
    tool = f"tool-{uuid4().hex}"

    def gated(**options: Any) -> Callable[[], None]:
        return require_approval(client, tool_name=tool, **options)(lambda: ran.append("ran"))

    for options, said in (({"risk": "huge"}, "risk"), ({"expires_in_secs": -1}, "expires_in_secs"), ({"x": 1}, "x")):
        with pytest.raises(Problem, match=said) as refusal:
            gated(**options)()
        assert refusal.value.status == 422
    with pytest.raises(KeyError):
        gated(resource="{absent}")()
    with pytest.raises(Problem, match="response_schema"):
        human_as_tool(client, tool_name=tool, form={"properties": {"a": {"$ref": "http://evil.example/"}}})("Which?")
    assert ran == []
    assert not [each for each in client.approvals() if each["tool_name"] == tool]


async def test_a_server_that_restarts_in_the_middle_loses_no_wait_and_cuts_no_list_short(
    house: House, client: Client
) -> None:
    parent = client.spawn("x", runner="external")["id"]
    made = {client.spawn(f"n{n}", runner="external", parent=parent)["id"] for n in range(5)}
    host = uuid4().hex
    deploy = require_approval(client, tool_name="deploy")(lambda host: host)
    with ThreadPoolExecutor() as threads:
        calls = [threads.submit(deploy, host), threads.submit(human_as_tool(client, tool_name=host), "Which host?")]
        asked = await wait_until_async(lambda: asyncio.to_thread(waited_for(client, host)))
        async with AsyncClient(house.url, house.key) as asynchronous:
            plain, other = client.sessions(parent=parent, limit=2), asynchronous.sessions(parent=parent, limit=2)
            seen = [[next(plain)["id"], next(plain)["id"]], [(await anext(other))["id"], (await anext(other))["id"]]]
            house.kill("web1")
            with pytest.raises(OSError):
                list(client.sessions(parent=parent, limit=2))
            with pytest.raises(OSError):
                [each async for each in asynchronous.sessions(parent=parent, limit=2)]
            house.start("web1")
            seen[0] += [each["id"] for each in plain]
            seen[1] += [each["id"] async for each in other]
            assert [sorted(each) for each in seen] == [sorted(made)] * 2
            with pytest.raises(Problem, match="limit"):
                await anext(asynchronous.sessions(limit=0))
        assert untouched(client, asked)
        for each in list(client.approvals(status="pending")):
            if host in (each["tool_name"], (each["arguments"] or {}).get("host")):
                client.decide(each, "respond" if each["tool_name"] == host else "approve", message="web2")
        assert [call.result(60) for call in calls] == [host, "web2"]
