"""One agent for each framework, with the real library and a fake model, as the conformance kit runs it."""

from __future__ import annotations

import asyncio
import json
import stat
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, TypedDict

from wardroom import AsyncClient, Client, require_approval
from wardroom.adapters.claude import ClaudeApprovals
from wardroom.adapters.langgraph import GraphApprovals, approved_arguments
from wardroom.adapters.openai_agents import AgentApprovals, restored, stored
from wardroom.adapters.pydantic_ai import DeferredApprovals
from wardroom.conformance import Run
from wardroom.gate import NotApproved

FAKE_CLAUDE = Path(__file__).with_name("fake_claude.py")


def with_client(main: Callable[[Run, AsyncClient], Awaitable[list[str]]]) -> Callable[[Run], list[str]]:
    """Run a coroutine function as a harness, with a client of the run."""

    def harness(run: Run) -> list[str]:
        async def entered() -> list[str]:
            async with AsyncClient(run.url, run.key) as client:
                return await main(run, client)

        return asyncio.run(entered())

    return harness


def options(run: Run) -> dict[str, Any]:
    return {"policy": run.policy, "timeout": run.timeout}


def plain(run: Run) -> list[str]:
    """`require_approval` over plain functions, with a thread for each call."""
    from concurrent.futures import ThreadPoolExecutor

    client = Client(run.url, run.key)

    def make(call: Any) -> str:
        @require_approval(
            client,
            permission=run.policy.permission,
            resource=run.policy.resource,
            timeout=run.timeout,
            facts=run.policy.facts,
            request_id=lambda arguments: f"{run.conversation}:{call.id}",
            tool_call_id=call.id,
            **run.policy.options,
        )
        def write(path: str, text: str) -> str:
            return run.tool(path=path, text=text)

        try:
            return write(**call.arguments)
        except NotApproved as refusal:
            return str(refusal)

    with ThreadPoolExecutor() as threads:
        return list(threads.map(make, run.calls))


@with_client
async def pydantic_ai(run: Run, client: AsyncClient) -> list[str]:
    from pydantic_ai import Agent, DeferredToolRequests
    from pydantic_ai.messages import ModelResponse, TextPart, ToolCallPart, ToolReturnPart
    from pydantic_ai.models.function import FunctionModel

    def model(messages: list[Any], info: Any) -> Any:
        if len(messages) > 1:
            return ModelResponse(parts=[TextPart("done")])
        return ModelResponse(parts=[ToolCallPart("write", each.arguments, tool_call_id=each.id) for each in run.calls])

    agent = Agent(FunctionModel(model), output_type=[str, DeferredToolRequests])

    @agent.tool_plain(requires_approval=True)
    def write(path: str, text: str) -> str:
        return run.tool(path=path, text=text)

    async with DeferredApprovals(client, run.conversation, **options(run)) as approvals:
        result = await agent.run("Write.")
        while isinstance(result.output, DeferredToolRequests):
            answers = await approvals.results(result.output)
            result = await agent.run(message_history=result.all_messages(), deferred_tool_results=answers)
    parts = [part for message in result.all_messages() for part in message.parts if isinstance(part, ToolReturnPart)]
    texts = {part.tool_call_id: str(part.content) for part in parts}
    return [texts[call.id] for call in run.calls]


@with_client
async def pydantic_ai_inside(run: Run, client: AsyncClient) -> list[str]:
    """The same in one run, by a capability."""
    from pydantic_ai import Agent
    from pydantic_ai.capabilities import HandleDeferredToolCalls
    from pydantic_ai.messages import ModelResponse, TextPart, ToolCallPart, ToolReturnPart
    from pydantic_ai.models.function import FunctionModel

    def model(messages: list[Any], info: Any) -> Any:
        if len(messages) > 1:
            return ModelResponse(parts=[TextPart("done")])
        return ModelResponse(parts=[ToolCallPart("write", each.arguments, tool_call_id=each.id) for each in run.calls])

    approvals = DeferredApprovals(client, run.conversation, **options(run))
    agent: Any = Agent(FunctionModel(model), capabilities=[HandleDeferredToolCalls(handler=approvals.handle)])

    @agent.tool_plain(requires_approval=True)
    def write(path: str, text: str) -> str:
        return run.tool(path=path, text=text)

    async with approvals:
        result = await agent.run("Write.")
    parts = [part for message in result.all_messages() for part in message.parts if isinstance(part, ToolReturnPart)]
    texts = {part.tool_call_id: str(part.content) for part in parts}
    return [texts[call.id] for call in run.calls]


def openai_model(run: Run, *, has_called: bool) -> Any:
    from agents.testing import ScriptedModel, assistant_message, function_call

    calls = [function_call("write", json.dumps(each.arguments), call_id=each.id) for each in run.calls]
    return ScriptedModel([*([] if has_called else [calls]), [assistant_message("done")]])


def openai_texts(run: Run, result: Any) -> list[str]:
    from agents.items import ToolCallOutputItem

    items = [item for item in result.new_items if isinstance(item, ToolCallOutputItem)]
    texts = {item.raw_item["call_id"]: str(item.output) for item in items}
    return [texts[call.id] for call in run.calls]


@with_client
async def openai_agents(run: Run, client: AsyncClient) -> list[str]:
    """A run with a stored state, so that a restart goes on from there."""
    from agents import Agent, Runner, function_tool

    @function_tool
    def write(path: str, text: str) -> str:
        return run.tool(path=path, text=text)

    approvals = AgentApprovals(client, run.conversation, **options(run))
    kept = run.folder / "state.json"
    model = openai_model(run, has_called=kept.exists())
    agent = Agent(name="kit", model=model, tools=[approvals.tool(write)])
    if kept.exists():
        state = await restored(agent, kept.read_text())
    else:
        result = await Runner.run(agent, "Write.")
        state = result.to_state()
        kept.write_text(stored(state))
    while True:
        result = await Runner.run(agent, await approvals.resolve(state))
        if not result.interruptions:
            return openai_texts(run, result)
        state = result.to_state()


@with_client
async def openai_agents_own_tool(run: Run, client: AsyncClient) -> list[str]:
    """A tool that the adapter does not wrap: its arguments cannot be edited."""
    from agents import Agent, Runner, function_tool

    @function_tool(needs_approval=True)
    def write(path: str, text: str) -> str:
        return run.tool(path=path, text=text)

    async with AgentApprovals(client, run.conversation, **options(run)) as approvals:
        agent = Agent(name="kit", model=openai_model(run, has_called=False), tools=[write])
        result = await Runner.run(agent, "Write.")
        while result.interruptions:
            result = await Runner.run(agent, await approvals.resolve(result.to_state()))
    return openai_texts(run, result)


class Texts(TypedDict):
    texts: list[str]


@with_client
async def langgraph(run: Run, client: AsyncClient) -> list[str]:
    """A graph with a node for each call, all interrupted in the same step."""
    from langgraph.checkpoint.memory import InMemorySaver
    from langgraph.graph import END, START, StateGraph

    texts: dict[str, str] = {}

    def node_of(call: Any) -> Callable[[Texts], dict[str, Any]]:
        def node(state: Texts) -> dict[str, Any]:
            try:
                arguments = approved_arguments("write", call.arguments, tool_call_id=call.id)
                texts[call.id] = run.tool(**arguments)
            except NotApproved as refusal:
                texts[call.id] = str(refusal)
            return {}

        return node

    graph = StateGraph(Texts)
    for call in run.calls:
        graph.add_node(call.id, node_of(call))
        graph.add_edge(START, call.id)
        graph.add_edge(call.id, END)
    compiled = graph.compile(checkpointer=InMemorySaver())
    config: Any = {"configurable": {"thread_id": run.conversation}}
    async with GraphApprovals(client, run.conversation, **options(run)) as approvals:
        result: Any = await compiled.ainvoke({"texts": []}, config)
        while "__interrupt__" in result:
            interrupts = list(reversed(result["__interrupt__"]))  # The order means nothing.
            result = await compiled.ainvoke(await approvals.command(interrupts), config)
    return [texts[call.id] for call in run.calls]


@with_client
async def claude_agent_sdk(run: Run, client: AsyncClient) -> list[str]:
    """The SDK with a stand-in for the program. The tools run in this process."""
    from claude_agent_sdk import (
        ClaudeAgentOptions,
        ClaudeSDKClient,
        HookMatcher,
        ToolResultBlock,
        create_sdk_mcp_server,
        tool,
    )

    @tool("write", "Write a file.", {"path": str, "text": str})
    async def write(arguments: dict[str, Any]) -> dict[str, Any]:
        return {"content": [{"type": "text", "text": run.tool(**arguments)}]}

    program = run.folder / "claude"
    program.write_text(f'#!/bin/sh\nexec {sys.executable} {FAKE_CLAUDE} "$@"\n')
    program.chmod(program.stat().st_mode | stat.S_IXUSR)
    approvals = ClaudeApprovals(client, run.conversation, **options(run))
    server = create_sdk_mcp_server("kit", tools=[write])
    chosen = ClaudeAgentOptions(
        cli_path=program,
        can_use_tool=approvals.can_use_tool,
        hooks={"PostToolUse": [HookMatcher(hooks=[approvals.tool_ended])]},
        mcp_servers={"kit": server},
    )
    prompt = [{"id": call.id, "tool": call.tool_name, "input": call.arguments} for call in run.calls]
    texts: dict[str, str] = {}
    async with ClaudeSDKClient(chosen) as claude:
        await claude.query(json.dumps(prompt))
        async for message in claude.receive_response():
            content = getattr(message, "content", None)
            for block in content if isinstance(content, list) else []:
                if isinstance(block, ToolResultBlock):
                    texts[block.tool_use_id] = str(block.content)
    return [texts[call.id] for call in run.calls]
