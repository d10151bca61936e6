"""Pydantic-AI: a tool with `requires_approval`, whose deferred calls people answer."""

import asyncio
import os
import sys

from pydantic_ai import Agent, DeferredToolRequests, Tool
from pydantic_ai.models.test import TestModel

from wardroom import AsyncClient
from wardroom.adapters.pydantic_ai import DeferredApprovals
from wardroom.gate import Policy


def delete_file(path: str) -> str:
    return f"deleted {path}"


async def main(conversation: str = "example") -> None:
    # Your own model here. This one calls every tool once, and then says what the tools returned.
    agent = Agent(
        TestModel(), tools=[Tool(delete_file, requires_approval=True)], output_type=[str, DeferredToolRequests]
    )
    policy = Policy("delete", "{path}", {"risk": "high"})
    async with (
        AsyncClient(os.environ["WARDROOM_URL"], os.environ["WARDROOM_KEY"]) as client,
        DeferredApprovals(client, conversation, policy=policy) as approvals,
    ):
        result = await agent.run("Clean up.")
        while isinstance(result.output, DeferredToolRequests):
            print("Waiting for an answer in Wardroom ...", flush=True)
            answers = await approvals.results(result.output)
            result = await agent.run(message_history=result.all_messages(), deferred_tool_results=answers)
    print(result.output)


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
