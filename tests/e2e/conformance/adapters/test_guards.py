"""The guards of adapters against input that no framework should give, and that would run a tool or mix up two."""

from __future__ import annotations

import json
from types import SimpleNamespace
from typing import Any, TypedDict

import pytest

from wardroom import AsyncClient
from wardroom.adapters.calls import Conversation, ToolCall
from wardroom.adapters.claude import ClaudeApprovals
from wardroom.adapters.langgraph import GraphApprovals, approved_arguments
from wardroom.adapters.openai_agents import restored
from wardroom.gate import ApprovalDenied

NOWHERE = AsyncClient("http://127.0.0.1:1", "key")


async def test_two_calls_with_one_id_are_refused_before_anybody_is_asked() -> None:
    calls = [ToolCall("call_1", "write", {"path": path}) for path in ("/a", "/b")]
    with pytest.raises(ValueError, match="two calls have the same id"):
        await Conversation(NOWHERE, "c").verdicts(calls)


def test_the_same_call_of_another_conversation_is_another_request() -> None:
    call = ToolCall("call_1", "write", {})
    ids = {Conversation(NOWHERE, name).action(call).request_id for name in ("a", "b", "a")}
    assert len(ids) == 2


async def test_a_permission_prompt_without_an_id_is_denied() -> None:
    answer = await ClaudeApprovals(NOWHERE, "c").can_use_tool("Bash", {}, SimpleNamespace(tool_use_id=None))
    assert (answer.behavior, answer.interrupt) == ("deny", True)


async def test_a_run_that_was_stored_with_an_unknown_schema_is_refused() -> None:
    with pytest.raises(ValueError, match="stored with the schema 99"):
        await restored(None, json.dumps({"schema_version": "99.0", "state": "{}"}))


class State(TypedDict):
    ran: list[str]


@pytest.mark.parametrize(
    "answer",
    [
        True,
        "approve",
        {},
        {"decisions": []},
        {"decisions": [{}]},
        {"decisions": [{"type": "accept"}]},
        {"decisions": [{"type": None}]},
        {"decisions": [{"type": "reject", "message": "no"}]},
    ],
)
def test_a_graph_that_is_resumed_without_a_clear_approval_runs_nothing(answer: Any) -> None:
    from langgraph.checkpoint.memory import InMemorySaver
    from langgraph.graph import START, StateGraph
    from langgraph.types import Command

    def node(state: State) -> dict[str, Any]:
        return {"ran": [approved_arguments("write", {"path": "/a"})["path"]]}

    graph = StateGraph(State).add_node("node", node).add_edge(START, "node").compile(checkpointer=InMemorySaver())
    config: Any = {"configurable": {"thread_id": "t"}}
    [interrupt] = graph.invoke({"ran": []}, config)["__interrupt__"]
    with pytest.raises(ApprovalDenied):
        graph.invoke(Command(resume={interrupt.id: answer}), config)
    assert graph.get_state(config).values["ran"] == []


async def test_an_interrupt_that_asks_for_something_else_is_left_to_the_program() -> None:
    with pytest.raises(ValueError, match="asks for no action"):
        await GraphApprovals(NOWHERE, "t").command([SimpleNamespace(id="i", value="What is your name?")])
