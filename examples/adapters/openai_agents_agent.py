"""OpenAI Agents SDK: a tool behind an approval. The run is stored while people look, and goes on in a new process."""

import asyncio
import os
import sys
from pathlib import Path

from agents import Agent, Runner, function_tool, set_tracing_disabled
from agents.testing import ScriptedModel, assistant_message, function_call

from wardroom import AsyncClient
from wardroom.adapters.openai_agents import AgentApprovals, restored, stored
from wardroom.gate import Policy

set_tracing_disabled(True)


@function_tool
def delete_file(path: str) -> str:
    return f"deleted {path}"


async def main(conversation: str = "example", kept: str = "/tmp/wardroom-example-run.json") -> None:
    file = Path(kept)
    call = [function_call("delete_file", '{"path": "/tmp/report.txt"}', call_id="call_1")]
    # Your own model here. This one has its answers written down.
    model = ScriptedModel([*([] if file.exists() else [call]), [assistant_message("I have cleaned up.")]])
    policy = Policy("delete", "{path}", {"risk": "high"})
    async with (
        AsyncClient(os.environ["WARDROOM_URL"], os.environ["WARDROOM_KEY"]) as client,
        AgentApprovals(client, conversation, policy=policy) as approvals,
    ):
        agent = Agent(name="janitor", model=model, tools=[approvals.tool(delete_file)])
        if file.exists():
            state = await restored(agent, file.read_text())
        else:
            state = (await Runner.run(agent, "Clean up.")).to_state()
            file.write_text(stored(state))
        print("Waiting for an answer in Wardroom ...", flush=True)
        result = await Runner.run(agent, await approvals.resolve(state))
    file.unlink()
    print([str(item.output) for item in result.new_items if item.type == "tool_call_output_item"], result.final_output)


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
