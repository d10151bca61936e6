"""OpenAI Agents SDK: answers for the interruptions of a run (the extra `openai-agents`).

async with AgentApprovals(client, "ticket 4711") as approvals:
    agent = Agent(name="ops", tools=[approvals.tool(delete_file)])     # a @function_tool
    result = await Runner.run(agent, "Clean up.")
    while result.interruptions:
        result = await Runner.run(agent, await approvals.resolve(result.to_state()))
"""

import dataclasses
import json
from typing import Any

from wardroom.adapters.calls import Conversation, ToolCall, Verdict
from wardroom.decision import Decision
from wardroom.extras import require
from wardroom.gate.gate import described, outcome_of
from wardroom.gate.refusals import NotApproved


class AgentApprovals(Conversation):
    """Asks for the tool calls that interrupt a run.

    A tool from `tool()` takes its approval itself, right before it runs, and runs edited arguments. Any other tool that
    needs approval is consumed when the run is resolved, and nobody can edit its arguments: this SDK has no way to.
    """

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        #: The tools that consume their own approval when they run.
        self._own: set[str] = set()
        self._decided: dict[str, Decision | NotApproved] = {}

    def tool(self, function_tool: Any) -> Any:
        """Return the same `FunctionTool` behind an approval of each call."""
        invoke = function_tool.on_invoke_tool

        async def gated(context: Any, arguments: str) -> Any:
            call = ToolCall(context.tool_call_id, function_tool.name, json.loads(arguments or "{}"))
            # Decided in this process, or asked again after a restart: the same call is the same request.
            answer = self._decided.get(call.id)
            verdict: Verdict = await (self.verdict(call) if answer is None else self.consumed(call, answer))
            if isinstance(verdict, NotApproved):
                return str(verdict)
            try:
                result = await invoke(context, json.dumps(verdict))
            except BaseException as error:
                await self.finished(call.id, outcome_of(error), described(error))
                raise
            await self.finished(call.id)
            return result

        self._own.add(function_tool.name)
        return dataclasses.replace(function_tool, on_invoke_tool=gated, needs_approval=True)

    async def resolve(self, state: Any) -> Any:
        """Approve or reject every interruption of a `RunState`, and return it. Run it again with the agent.

        Raises ApprovalPending when one has no answer in time: keep `stored(state)` and try again.
        """
        items = {str(item.call_id): item for item in state.get_interruptions()}
        calls = [
            ToolCall(id, str(item.name), json.loads(item.arguments or "{}"), can_edit=item.name in self._own)
            for id, item in items.items()
        ]
        answers: dict[str, Any] = dict(await self.answers(calls))
        others = [call for call in calls if call.tool_name not in self._own]
        answers.update(await self.verdicts(others))
        self._decided |= {call.id: answers[call.id] for call in calls if call.tool_name in self._own}
        for id, item in items.items():
            if isinstance(answers[id], NotApproved):
                state.reject(item, rejection_message=str(answers[id]))
            else:
                state.approve(item)
        return state


def stored(state: Any) -> str:
    """Return a `RunState` as a text to keep across a restart, with the version of its schema."""
    text = state.to_string()
    return json.dumps({"schema_version": json.loads(text)["$schemaVersion"], "state": text})


async def restored(agent: Any, text: str) -> Any:
    """Return the `RunState` of a stored text. Raises ValueError when this SDK cannot read its schema version."""
    run_state = require("agents.run_state", "openai-agents")
    kept = json.loads(text)
    if kept["schema_version"] not in run_state.SUPPORTED_SCHEMA_VERSIONS:
        known = ", ".join(sorted(run_state.SUPPORTED_SCHEMA_VERSIONS))
        raise ValueError(f"the run was stored with the schema {kept['schema_version']}; this SDK reads {known}")
    return await run_state.RunState.from_string(agent, kept["state"])
