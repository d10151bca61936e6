"""`python -m wardroom.mcp` with the official client of MCP over stdio, against a real server."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from mcp.client.client import Client as McpClient
from mcp.client.stdio import StdioServerParameters, stdio_client

from tests.e2e.conformance.adapters.test_adapters import FEW
from tests.e2e.conformance.conftest import Spawn
from tests.servers.stack import House
from tests.waiting import wait_until_async
from wardroom import AsyncClient, Client
from wardroom.adapters.claude import ClaudeApprovals
from wardroom.conformance import Kit, Run, check_all, checks
from wardroom.mcp.__main__ import Misconfigured, decider
from wardroom.mcp.server import asking_server

pytestmark = [pytest.mark.stack, pytest.mark.surface, pytest.mark.timeout(300)]
COMMAND = ["-m", "wardroom.mcp"]
LOOK_UP = {"tool_name": "shell", "arguments": {"command": "make deploy"}, "resource": "production"}


@pytest.fixture
def client(house: House) -> Client:
    return Client(house.url, house.key)


@asynccontextmanager
async def serving(*options: str, **environment: str) -> AsyncIterator[Any]:
    parameters = StdioServerParameters(
        command=sys.executable, args=[*COMMAND, *options], env=environment, cwd=Path.cwd()
    )
    with open(os.devnull, "w") as nowhere:
        async with McpClient(stdio_client(parameters, errlog=nowhere)) as mcp:
            yield mcp


async def names(mcp: Any) -> set[str]:
    return {tool.name for tool in (await mcp.list_tools()).tools}


async def called(mcp: Any, tool: str, **arguments: Any) -> Any:
    result = await mcp.call_tool(tool, arguments)
    text = result.content[0].text if result.content else ""
    assert not result.is_error, text
    return json.loads(text)


async def refused(mcp: Any, tool: str, **arguments: Any) -> str:
    result = await mcp.call_tool(tool, arguments)
    assert result.is_error
    return str(result.content[0].text)


async def test_an_agent_asks_waits_and_consumes_over_stdio(house: House, client: Client) -> None:
    async with serving(WARDROOM_URL=house.url, WARDROOM_KEY=house.key) as mcp:
        assert await names(mcp) == {
            "answer_question",
            "consume_approval",
            "get_approval",
            "report_outcome",
            "request_approval",
            "wait_for_approval",
            "withdraw_approval",
        }, "no tool that decides"
        asked = await called(mcp, "request_approval", **LOOK_UP, risk="high", question="May I?", request_name="deploy")
        again = await called(mcp, "request_approval", **LOOK_UP, risk="high", question="May I?", request_name="deploy")
        id = asked["approval_id"]
        assert (asked["status"], again["approval_id"], asked["arguments"]) == ("pending", id, None)
        waited = await called(mcp, "wait_for_approval", approval_id=id, timeout_secs=0.1)
        assert (waited["status"], "neither consent nor refusal" in waited["note"]) == ("pending", True)
        assert "neither consent nor refusal" in await refused(mcp, "consume_approval", approval_id=id)

        client.ask_back(id, "Why now?")
        [question] = (await called(mcp, "get_approval", approval_id=id))["questions"]
        assert question["question"] == "Why now?"
        await called(mcp, "answer_question", approval_id=id, question_id=question["question_id"], answer="It is late.")

        waiting = asyncio.create_task(called(mcp, "wait_for_approval", approval_id=id, timeout_secs=30))
        await wait_until_async(lambda: client.approval(id)["waiters"])
        client.decide(client.approval(id), "edit", arguments={"command": "make deploy-dry"})
        assert (await waiting)["status"] == "approved"
        assert await called(mcp, "consume_approval", approval_id=id) == {"arguments": {"command": "make deploy-dry"}}
        await called(mcp, "report_outcome", approval_id=id, outcome="ran")
        assert client.approval(id)["outcome"] == "ran"
        assert "another execution" in await refused(mcp, "consume_approval", approval_id=id)

        other = (await called(mcp, "request_approval", **LOOK_UP))["approval_id"]
        assert (await called(mcp, "withdraw_approval", approval_id=other))["status"] == "cancelled"
        assert "404" in await refused(mcp, "get_approval", approval_id="nonsense")


async def test_a_child_asks_with_its_own_token(house: House, client: Client, spawn: Spawn) -> None:
    session = spawn()
    identity = {"WARDROOM_SESSION": session.id, "WARDROOM_ATTEMPT": "1", "WARDROOM_TOKEN": session.token}
    async with serving(WARDROOM_URL=house.url, **identity) as mcp:
        asked = await called(mcp, "request_approval", **LOOK_UP)
    assert client.approval(asked["approval_id"])["session"] == session.id


async def test_a_person_decides_with_a_key_of_their_own(house: House, client: Client) -> None:
    asked = client.ask_approval("shell", {"command": "ls"}, permission="execute", resource="decided by mcp")
    async with serving("--decide", WARDROOM_URL=house.url, WARDROOM_DECIDE_KEY=house.key) as mcp:
        assert await names(mcp) == {"decide_approval", "get_approval", "list_pending_approvals"}, "no tool that asks"
        shown = await called(mcp, "get_approval", approval_id=asked["id"])
        answer = {"approval_id": asked["id"], "decision": "approve", "version": shown["version"]}
        assert "digest-mismatch" in await refused(mcp, "decide_approval", **answer, digest="0" * 64)
        decided = await called(mcp, "decide_approval", **answer, digest=shown["digest"])
        assert (decided["status"], decided["decision"]["via"]) == ("approved", "rest")


@pytest.mark.parametrize(
    ("environment", "said"),
    [
        ({}, "set WARDROOM_DECIDE_KEY"),
        ({"WARDROOM_KEY": "wr_key_1_x"}, "set WARDROOM_DECIDE_KEY"),
        ({"WARDROOM_DECIDE_KEY": "wr_child_1_x"}, "a person's key"),
        ({"WARDROOM_DECIDE_KEY": "wr_key_1_x", "WARDROOM_KEY": "wr_key_1_x"}, "must not decide"),
        ({"WARDROOM_DECIDE_KEY": "wr_key_1_x"}, "of no use"),
    ],
)
def test_only_a_key_of_its_own_makes_a_server_that_decides(
    house: House, monkeypatch: pytest.MonkeyPatch, environment: dict[str, str], said: str
) -> None:
    for name in ("WARDROOM_KEY", "WARDROOM_DECIDE_KEY"):
        monkeypatch.delenv(name, raising=False)
    for name, value in {"WARDROOM_URL": house.url, **environment}.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(Misconfigured, match=said):
        decider()


def test_a_server_without_a_key_does_not_start(house: House) -> None:
    known = {name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ}
    command = [sys.executable, *COMMAND]
    done = subprocess.run(command, env={**known, "WARDROOM_URL": house.url}, capture_output=True, text=True)
    assert (done.returncode, "WARDROOM_KEY" in done.stderr) == (2, True), done.stderr


def claude_code(run: Run) -> list[str]:
    """Claude Code asks the permission prompt tool of an MCP server, and runs the tool itself."""

    async def main() -> list[str]:
        async with AsyncClient(run.url, run.key) as client:
            prompts = ClaudeApprovals(client, run.conversation, policy=run.policy, timeout=run.timeout)
            async with McpClient(asking_server(client, run.conversation, prompts)) as mcp:

                async def prompted(call: Any) -> str:
                    asked = {"tool_name": call.tool_name, "input": call.arguments, "tool_use_id": call.id}
                    answer = await called(mcp, "permission_prompt", **asked)
                    return run.tool(**answer["updatedInput"]) if answer["behavior"] == "allow" else answer["message"]

                return list(await asyncio.gather(*map(prompted, run.calls)))

    return asyncio.run(main())


def test_the_permission_prompts_of_claude_code_conform(house: House) -> None:
    kit = Kit(claude_code, url=house.url, key=house.key, reports=False)
    assert check_all(kit, [*FEW, checks.a_restart_in_mid_wait_runs_the_call_once]) is None
