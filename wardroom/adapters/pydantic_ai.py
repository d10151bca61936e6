"""Pydantic-AI: answers for the deferred tool calls of a run (the extra `pydantic-ai`).

    agent = Agent(model, tools=[Tool(delete_file, requires_approval=True)], output_type=[str, DeferredToolRequests])
    async with DeferredApprovals(client, "ticket 4711") as approvals:
        result = await agent.run("Clean up.")
        while isinstance(result.output, DeferredToolRequests):
            answers = await approvals.results(result.output)
            result = await agent.run(message_history=result.all_messages(), deferred_tool_results=answers)

or, in one run: `Agent(..., capabilities=[HandleDeferredToolCalls(handler=approvals.handle)])`.
"""

from typing import Any

from wardroom.adapters.calls import Conversation, ToolCall
from wardroom.extras import require
from wardroom.gate.refusals import NotApproved


class DeferredApprovals(Conversation):
    """Asks for the calls with `requires_approval`. Calls that run elsewhere (`requests.calls`) are for the program."""

    async def results(self, requests: Any) -> Any:
        """Return `DeferredToolResults` with an answer for every approval of these `DeferredToolRequests`.

        Pydantic-AI runs a call without an entry, so there is one for each id: the approved arguments, or a denial with
        its reason. Raises ApprovalPending when one has no answer in time: keep `result.all_messages()` and try again.
        """
        tools = require("pydantic_ai.tools", "pydantic-ai")
        calls = [ToolCall(part.tool_call_id, part.tool_name, part.args_as_dict()) for part in requests.approvals]
        verdicts = await self.verdicts(calls)
        return tools.DeferredToolResults(
            approvals={
                call.id: tools.ToolDenied(str(verdict))
                if isinstance(verdict := verdicts[call.id], NotApproved)
                else tools.ToolApproved(override_args=verdict)
                for call in calls
            }
        )

    async def handle(self, context: Any, requests: Any) -> Any:
        """Answer inside the run: the handler of Pydantic-AI's `HandleDeferredToolCalls`."""
        return await self.results(requests)
