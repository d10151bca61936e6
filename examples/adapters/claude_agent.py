"""Claude Agent SDK: people answer the permission prompts."""

import asyncio
import os
import sys
from typing import Any

from claude_agent_sdk import (
    ClaudeAgentOptions,
    ClaudeSDKClient,
    HookMatcher,
    ResultMessage,
    create_sdk_mcp_server,
    tool,
)

from wardroom import AsyncClient
from wardroom.adapters.claude import ClaudeApprovals
from wardroom.gate import Policy


@tool("delete_file", "Delete a file.", {"path": str})
async def delete_file(arguments: dict[str, Any]) -> dict[str, Any]:
    print(f"deleted {arguments['path']}")
    return {"content": [{"type": "text", "text": f"deleted {arguments['path']}"}]}


async def main(prompt: str = "Delete /tmp/report.txt with the tool.", conversation: str = "example") -> None:
    policy = Policy("delete", None, {"risk": "high"})
    async with (
        AsyncClient(os.environ["WARDROOM_URL"], os.environ["WARDROOM_KEY"]) as client,
        ClaudeApprovals(client, conversation, policy=policy) as approvals,
    ):
        ended = [HookMatcher(hooks=[approvals.tool_ended])]
        options = ClaudeAgentOptions(
            cli_path=os.environ.get("CLAUDE"),  # None: the program that the SDK finds.
            can_use_tool=approvals.can_use_tool,
            hooks={"PostToolUse": ended, "PostToolUseFailure": ended},
            mcp_servers={"kit": create_sdk_mcp_server("kit", tools=[delete_file])},
        )
        async with ClaudeSDKClient(options) as claude:
            print("Waiting for an answer in Wardroom ...", flush=True)
            await claude.query(prompt)
            async for message in claude.receive_response():
                if isinstance(message, ResultMessage):
                    print(message.result)


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
