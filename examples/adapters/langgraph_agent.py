"""LangGraph: a node that interrupts the graph, and goes on with the approved arguments."""

import asyncio
import os
import sys
from typing import TypedDict

from langgraph.checkpoint.memory import InMemorySaver
from langgraph.graph import END, START, StateGraph

from wardroom import AsyncClient
from wardroom.adapters.langgraph import GraphApprovals, approved_arguments
from wardroom.gate import NotApproved, Policy


class State(TypedDict):
    path: str
    result: str


def delete_file(path: str) -> str:
    return f"deleted {path}"


def delete(state: State) -> dict[str, str]:
    # LangGraph runs a node again from its beginning when it goes on: nothing with an effect before this line.
    try:
        arguments = approved_arguments("delete_file", {"path": state["path"]})
    except NotApproved as refusal:
        return {"result": str(refusal)}
    return {"result": delete_file(**arguments)}


async def main(thread: str = "example") -> None:
    builder = StateGraph(State)
    builder.add_node("delete", delete)
    builder.add_edge(START, "delete")
    builder.add_edge("delete", END)
    # A checkpointer that survives the process, in an agent of your own.
    graph = builder.compile(checkpointer=InMemorySaver())
    policy = Policy("delete", "{path}", {"risk": "high"})
    config = {"configurable": {"thread_id": thread}}
    async with (
        AsyncClient(os.environ["WARDROOM_URL"], os.environ["WARDROOM_KEY"]) as client,
        GraphApprovals(client, thread, policy=policy) as approvals,
    ):
        result = await graph.ainvoke({"path": "/tmp/report.txt", "result": ""}, config)
        while "__interrupt__" in result:
            print("Waiting for an answer in Wardroom ...", flush=True)
            result = await graph.ainvoke(await approvals.command(result["__interrupt__"]), config)
    print(result["result"])


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
