"""LangGraph: answers for the interrupts of a graph (the extra `langgraph`).

    def delete(state):                                   # a node
        arguments = approved_arguments("delete_file", state["call"])
        return {"result": delete_file(**arguments)}

    async with GraphApprovals(client, thread_id) as approvals:
        result = await graph.ainvoke(inputs, config)
        while "__interrupt__" in result:
            result = await graph.ainvoke(await approvals.command(result["__interrupt__"]), config)

The value of an interrupt has the shape of LangChain's human-in-the-loop middleware, so its agents work unchanged.
"""

from collections.abc import Iterable, Mapping
from typing import Any

from wardroom.adapters.calls import Conversation, ToolCall, Verdict
from wardroom.decision import Decision
from wardroom.extras import require
from wardroom.gate.action import Arguments
from wardroom.gate.refusals import ApprovalDenied, NotApproved


def approved_arguments(tool_name: str, arguments: Arguments, *, tool_call_id: str | None = None) -> Arguments:
    """Interrupt the graph until this call is answered, and return the arguments to run. Call it inside a node.

    LangGraph runs a node again from its beginning when it goes on: do nothing with an effect before this line. Raises
    NotApproved, with a text for the model.
    """
    action: dict[str, Any] = {"name": tool_name, "args": arguments}
    if tool_call_id is not None:
        action["id"] = tool_call_id
    review = {"action_name": tool_name, "allowed_decisions": ["approve", "edit", "reject"]}
    interrupt = require("langgraph.types", "langgraph").interrupt
    answer = interrupt({"action_requests": [action], "review_configs": [review]})
    [decision] = answer["decisions"] if isinstance(answer, Mapping) and answer.get("decisions") else [{}]
    if decision.get("type") == "approve":
        return arguments
    if decision.get("type") == "edit":
        edited: Arguments = decision["edited_action"]["args"]
        return edited
    raise ApprovalDenied(str(decision.get("message") or "There is no approval."), Decision("", "denied"))


class GraphApprovals(Conversation):
    """Asks for the actions of a graph's interrupts. Name it by the thread."""

    async def command(self, interrupts: Iterable[Any]) -> Any:
        """Return `Command(resume={interrupt_id: answer})` for all of these interrupts, by id and never by order.

        Raises ApprovalPending when one has no answer in time (the graph stays interrupted), and ValueError for an
        interrupt that asks for something else.
        """
        types = require("langgraph.types", "langgraph")
        asked = {each.id: list(_calls(each)) for each in interrupts}
        verdicts = await self.verdicts(call for calls in asked.values() for call in calls)
        resume = {
            id: {"decisions": [_decision(call, verdicts[call.id]) for call in calls]} for id, calls in asked.items()
        }
        return types.Command(resume=resume)


def _calls(interrupt: Any) -> Iterable[ToolCall]:
    value = interrupt.value
    if not isinstance(value, Mapping) or not value.get("action_requests"):
        raise ValueError(f"the interrupt {interrupt.id} asks for no action: answer it yourself")
    allowed = {each.get("action_name"): each.get("allowed_decisions") for each in value.get("review_configs", ())}
    for place, action in enumerate(value["action_requests"]):
        id = action.get("id") or f"{interrupt.id}:{place}"
        can_edit = "edit" in (allowed.get(action["name"]) or ["edit"])
        yield ToolCall(id, action["name"], action.get("args") or {}, can_edit=can_edit)


def _decision(call: ToolCall, verdict: Verdict) -> dict[str, Any]:
    if isinstance(verdict, NotApproved):
        return {"type": "reject", "message": str(verdict)}
    if verdict == call.arguments:
        return {"type": "approve"}
    return {"type": "edit", "edited_action": {"name": call.tool_name, "args": verdict}}
