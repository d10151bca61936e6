"""The SDK's child and questions by REST: beside the work, as a turn of it, and after a restart."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from tests.e2e.conformance.conftest import Spawn
from tests.e2e.conformance.peer import connect_child
from tests.waiting import wait_until_async
from wardroom.child import Child, Refused

pytestmark = [pytest.mark.stack, pytest.mark.surface, pytest.mark.timeout(300)]


async def threaded(work: Any, *args: Any, **options: Any) -> Any:
    """A call of the REST client, off the loop."""
    return await asyncio.to_thread(work, *args, **options)


async def test_a_query_leaves_the_work_untouched_and_a_steer_is_a_turn_of_it(spawn: Spawn) -> None:
    session = spawn()
    async with Child(session.identity) as child:
        child.state = {"done": [1, 2]}

        @child.on_query
        async def answer(question: str, state: Any) -> Any:
            return {"asked": question, "done": state["done"]}

        told = await threaded(session.client.ask, session.id, "how far?")
        assert (told["status"], told["answer"]) == ("answered", {"asked": "how far?", "done": [1, 2]})
        assert await child.checkpoint() == []
        steering = asyncio.create_task(threaded(session.client.ask, session.id, "left or right?", mode="steer"))
        assert await child.wait_message(20)
        [turn] = await child.checkpoint()
        assert (turn.message_kind, turn.text) == ("ask", "left or right?")
        await child.reply(turn, "left")
        assert (await steering)["answer"] == "left"
        with pytest.raises(Refused, match="already-answered"):
            await child.reply(turn, "right")
    history = await threaded(session.client.get, f"sessions/{session.id}/history")
    assert [entry["content"] for entry in history["results"]] == ["left or right?"]


async def test_a_query_that_an_earlier_life_answered_is_put_away(spawn: Spawn) -> None:
    session = spawn()
    asked = await threaded(lambda: session.client.ask(session.id, "how far?", timeout=0))
    with connect_child(session) as peer:
        peer.begin()
        ask = peer.hear("message")
        body = {"answer": "the first says"}
        peer.say("send", id="r1", message_kind="reply", body=body, correlation_id=ask["id"])
        peer.hear("send_ack")
    async with Child(session.identity) as child:

        @child.on_query
        async def answer(question: str, state: Any) -> str:
            return "the second says"

        def unread() -> int:
            return int(session.client.get(f"mailboxes/session:{session.id}")["new"])

        await wait_until_async(lambda: threaded(lambda: unread() == 0))
        assert await child.checkpoint() == []
    found = await threaded(lambda: session.client.asked(session.id, asked["ask_id"]))
    assert (found["status"], found["answer"]) == ("answered", "the first says")


@pytest.mark.parametrize("at_once", [True, False])
async def test_a_query_that_came_before_its_handler_is_answered_by_it(spawn: Spawn, at_once: bool) -> None:
    """The question is there before the child is: it comes with the run, and the work has not begun yet."""
    session = spawn()
    asked = await threaded(lambda: session.client.ask(session.id, "how far?", timeout=0))
    async with Child(session.identity) as child:
        await wait_until_async(lambda: child._wire.inbox)

        @child.on_query
        async def answer(question: str, state: Any) -> Any:
            return [question, state]

        child.state = "this far"
        if at_once:
            assert await child.checkpoint() == []
        found = await threaded(lambda: session.client.asked(session.id, asked["ask_id"], timeout=20))
        assert await child.checkpoint() == []
    assert (found["status"], found["answer"]) == ("answered", ["how far?", "this far"])


async def test_a_question_about_a_pending_approval_goes_to_the_same_handler(spawn: Spawn) -> None:
    session = spawn()
    async with Child(session.identity) as child:
        asking = asyncio.create_task(child.approve("deploy", {}, permission="deploy", resource="production"))
        pending = await threaded(session.pending)
        shown = await threaded(session.client.ask_back, pending["id"], "which host?")

        @child.on_query
        async def answer(question: str, state: Any) -> Any:
            return {"text": f"{question} host-1"}

        waited = await threaded(session.client.wait_approval, pending["id"], 20, version=shown["version"])
        [told] = (await threaded(session.client.approval_questions, pending["id"]))["results"]
        assert (told["answer"], waited["status"], waited["timed_out"]) == ("which host? host-1", "pending", False)
        await threaded(session.client.decide, waited, "approve")
        assert (await asking).approved
