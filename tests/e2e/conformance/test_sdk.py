"""The SDK's child against a real server: the walk-throughs from the author's side."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any
from uuid import uuid4

import pytest

from tests.e2e.conformance.conftest import Session, Spawn
from tests.servers.stack import House
from tests.waiting import wait_until_async
from wardroom.child import AlreadyConsumed, Cancelled, Child, Ended, NotConsumed, Refused
from wardroom.protocol import ApprovalConsumed

pytestmark = [pytest.mark.stack, pytest.mark.surface, pytest.mark.timeout(300)]

ASK: dict[str, Any] = {"permission": "shell", "resource": "/srv"}


async def threaded(work: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
    return await asyncio.to_thread(work, *args, **kwargs)


async def drop(child: Child) -> None:
    """Cut the child's connection as a network does it."""
    wire = child._wire
    await wait_until_async(lambda: wire.connection.online)
    assert wire.connection.socket is not None
    wire.connection.socket.transport.abort()
    await wait_until_async(lambda: not wire.connection.online)


def types(session: Session) -> list[str]:
    return [event["type"] for event in session.events() if event["source"] == "child"]


async def test_a_gated_tool_from_ask_to_result(spawn: Spawn) -> None:
    session = spawn("the work")
    async with Child(session.identity) as child:
        assert child.run.assignment == "the work"
        assert not child.was_restarted
        asking = asyncio.create_task(child.approve("shell", {"command": "ls"}, **ASK))
        await threaded(session.decide, "edit", arguments={"command": "ls -l"}, message="long, please")
        decision = await asking
        assert (decision.state, decision.message) == ("approved", "long, please")
        async with decision.consumed() as arguments:
            assert arguments == {"command": "ls -l"}
            await child.emit("tool_finished", tool_name="shell", ok=True)
        await child.complete({"listed": True})
    over = session.now()
    assert (over["status"], over["result"]) == ("completed", '{"listed":true}')
    assert types(session) == ["tool_finished"]


async def test_an_answer_that_came_while_the_connection_was_down(spawn: Spawn) -> None:
    session = spawn()
    async with Child(session.identity) as child:
        asking = asyncio.create_task(child.approve("shell", {}, **ASK))
        approval = await threaded(session.pending)
        await drop(child)
        await threaded(session.client.decide, approval, "deny", message="no")
        decision = await asking
        assert (decision.state, decision.message) == ("denied", "no")
        with pytest.raises(NotConsumed):
            await child.consume(decision)


async def test_an_answer_that_came_before_the_wait(spawn: Spawn) -> None:
    session = spawn()
    async with Child(session.identity) as child:
        first = await child.approve("shell", {}, **ASK, id="one", timeout=0.5)
        assert first.state == "pending"
        with pytest.raises(TypeError):
            bool(first)
        await threaded(session.decide, "approve")
        again = await child.approve("shell", {}, **ASK, id="one", timeout=10)
        assert again.approved


async def test_an_ask_that_nobody_answers_expires(spawn: Spawn) -> None:
    session = spawn()
    async with Child(session.identity) as child:
        decision = await child.approve("shell", {}, **ASK, expires_in=1)
        assert decision.state == "expired"
        assert not decision.approved


async def test_a_changed_ask_with_the_same_id_is_refused(spawn: Spawn) -> None:
    session = spawn()
    async with Child(session.identity) as child:
        await child.approve("shell", {"command": "a"}, **ASK, id="one", timeout=0.5)
        with pytest.raises(Refused, match="conflict"):
            await child.approve("shell", {"command": "b"}, **ASK, id="one")


async def test_one_execution_whoever_else_holds_the_decision(spawn: Spawn) -> None:
    session = spawn()
    async with Child(session.identity) as child:
        asking = asyncio.create_task(child.approve("shell", {}, **ASK))
        await threaded(session.decide, "approve")
        decision = await asking
        await child.consume(decision, claim="mine")
        await child.consume(decision, claim="mine")
        with pytest.raises(AlreadyConsumed):
            await child.consume(decision, claim="another")
        await child.flushed()
    assert "unknown_outcome" in types(session)


async def test_of_many_tasks_one_executes(spawn: Spawn) -> None:
    session = spawn()
    async with Child(session.identity) as child:
        asking = asyncio.create_task(child.approve("shell", {}, **ASK))
        await threaded(session.decide, "approve")
        decision = await asking
        outcomes = await asyncio.gather(*(child.consume(decision) for _ in range(8)), return_exceptions=True)
        assert sum(outcome == {} for outcome in outcomes) == 1
        assert sum(isinstance(outcome, AlreadyConsumed) for outcome in outcomes) == 7


async def test_events_survive_lost_connections_once_and_in_order(spawn: Spawn) -> None:
    session = spawn()
    async with Child(session.identity) as child:
        for n in range(60):
            if n % 20 == 10:
                await drop(child)
            await child.emit("step", n=n)
            await child.emit("token", text="x")
        await child.flushed()
        await child.complete()
    own = [event["payload"]["n"] for event in session.events() if event["type"] == "step"]
    assert own == list(range(60))


async def test_more_events_than_may_be_owed_wait_and_none_is_lost(spawn: Spawn) -> None:
    session = spawn()
    async with Child(session.identity) as child:
        child._wire.buffer.max_unacked = 8
        for n in range(100):
            await child.emit("step", n=n)
            assert len(child._wire.buffer._unacked) <= 8
        await child.flushed()
    cursor, own = None, []
    while True:
        page = session.client.get(f"sessions/{session.id}/events", {"after": cursor} if cursor else None)
        own += [event["payload"]["n"] for event in page["results"] if event["type"] == "step"]
        if not page["next"]:
            break
        cursor = page["next"]
    assert own == list(range(100))


async def test_messages_are_read_at_a_safe_point_once(spawn: Spawn) -> None:
    session = spawn()
    ids = [uuid4().hex, uuid4().hex]
    async with Child(session.identity) as child:
        await threaded(session.client.message, session.id, "one", id=ids[0])
        assert await child.wait_message(10)
        assert [message.text for message in await child.checkpoint()] == ["one"]
        await drop(child)
        await threaded(session.client.message, session.id, {"text": "two"}, id=ids[1])
        assert await child.wait_message(10)
        assert [message.text for message in await child.checkpoint()] == ["two"]
        assert await child.checkpoint() == []
        assert not await child.wait_message(0.2)
        assert list(child.admitted) == ids


async def test_a_message_never_answers_an_ask(spawn: Spawn) -> None:
    session = spawn()
    async with Child(session.identity) as child:
        asking = asyncio.create_task(child.approve("shell", {}, **ASK, timeout=1))
        await threaded(session.client.message, session.id, "approved")
        assert (await asking).state == "pending"


async def test_a_cancel_ends_a_wait_and_the_child(spawn: Spawn) -> None:
    session = spawn()
    async with Child(session.identity) as child:
        asking = asyncio.create_task(child.approve("shell", {}, **ASK))
        await threaded(session.pending)
        await threaded(session.client.cancel, session.id, "enough")
        await child.cancelled
        assert child.cancelled.reason == "enough"
        await asking
        raise AssertionError("an approval came out of a cancel")
    assert session.now()["status"] == "cancelled"


async def test_a_child_that_ignores_the_cancel_is_stopped_after_the_grace(spawn: Spawn) -> None:
    session = spawn()
    reached = False
    async with Child(session.identity) as child:
        await threaded(session.client.cancel, session.id)
        await child.cancelled
        await asyncio.Event().wait()
        reached = True
    assert not reached
    assert session.now()["status"] == "cancelled"


async def test_a_cancel_before_the_start_is_all_there_is(spawn: Spawn) -> None:
    session = spawn()
    async with Child(session.identity) as child:
        await drop(child)
        await threaded(session.client.cancel, session.id, "enough")
        await child.cancelled
    other = spawn()
    await threaded(other.client.cancel, other.id)
    with pytest.raises((Cancelled, Ended)):
        async with Child(other.identity):
            raise AssertionError("there was a run")


async def test_an_exception_is_the_sessions_error(spawn: Spawn) -> None:
    session = spawn()
    with pytest.raises(ValueError, match="no text"):
        async with Child(session.identity):
            raise ValueError("no text \0 \ud800")
    assert session.now()["error"] == "ValueError: no text \ufffd ?"


async def test_a_body_that_says_nothing_is_completed(spawn: Spawn) -> None:
    session = spawn()
    async with Child(session.identity):
        pass
    assert (session.now()["status"], session.now()["result"]) == ("completed", None)


async def test_history_is_kept_and_found_by_a_process_that_was_restarted(spawn: Spawn) -> None:
    session = spawn()
    first = Child(session.identity)
    await first.__aenter__()
    await first.emit("x")
    await first.transcript({"role": "user", "content": "a", "id": "i1"}, {"role": "tool", "content": "b"})
    await first.flushed()
    for task in first._tasks:
        task.cancel()
    await asyncio.gather(*first._tasks, return_exceptions=True)
    async with Child(session.identity) as second:
        assert second.was_restarted
        assert [item["content"] for item in second.run.messages] == ["a", "b"]
        await second.transcript({"role": "tool", "content": "c"})
        await second.emit("y")
        await second.complete()
    assert types(session) == ["x", "y"]


async def test_a_replaced_child_stops(spawn: Spawn) -> None:
    session = spawn()
    async with Child(session.identity) as first, Child(session.identity) as second:
        await first.cancelled
        with pytest.raises(Ended, match="4409"):
            await first.emit("late")
        await second.complete("mine")
    assert session.now()["result"] == "mine"


async def test_a_token_that_is_worth_nothing_is_told_at_once(spawn: Spawn) -> None:
    session = spawn()
    stranger = type(session.identity)(session.client.url, session.id, 1, "wr_child_1_nonsense")
    with pytest.raises(Ended, match="4401"):
        async with Child(stranger):
            raise AssertionError("it was let in")


async def test_out_of_reach_for_too_long_is_the_end() -> None:
    from wardroom.identity import Identity

    nowhere = Identity("http://127.0.0.1:9", "s", 1, "t")
    with pytest.raises(Ended, match="unreachable"):
        async with Child(nowhere, unreachable_secs=1):
            raise AssertionError("there is no server")


async def test_what_no_frame_can_carry_is_refused_before_it_is_sent(spawn: Spawn) -> None:
    session = spawn()
    async with Child(session.identity) as child:
        for fields in ({"text": "\0"}, {"text": "\ud800"}, {"n": float("nan")}, {"text": "x" * 2**21}):
            with pytest.raises(ValueError, match=r"NUL|surrogate|finite|bytes"):
                await child.emit("x", **fields)
        with pytest.raises(ValueError, match="131072"):
            await child.complete("x" * (128 * 1024 + 1))
        await child.complete("short")
    assert session.now()["result"] == "short"


async def test_a_child_writes_to_its_parent(spawn: Spawn) -> None:
    parent = spawn()
    session = spawn("x", parent=parent.id)
    async with Child(parent.identity) as one, Child(session.identity) as two:
        outcome = await two.send("task", {"text": "hello"}, to=f"session:{parent.id}")
        assert outcome == "delivered_live"
        assert await one.wait_message(10)
        assert (await one.checkpoint())[0].text == "hello"
        with pytest.raises(Refused):
            await two.send("task", "x", to="nobody-we-know")


async def test_an_answer_goes_to_nobody_who_asks_under_the_same_name(spawn: Spawn) -> None:
    parent = spawn()
    session, thief = spawn("x", parent=parent.id), spawn("x", parent=parent.id)
    here = f"session:{session.id}"
    async with Child(parent.identity) as one, Child(session.identity) as two, Child(thief.identity) as three:
        await three.send("ask", {"question": "?", "mode": "steer"}, to=here, id="q1")
        await one.send("ask", {"question": "which?", "mode": "steer"}, to=here, id="asked", correlation_id="q1")
        await three.send("ask", {"question": "?", "mode": "steer"}, to=here, correlation_id="q1")
        turns: list[Any] = []
        while len(turns) < 3:
            assert await two.wait_message(20)
            turns += await two.checkpoint()
        await two.reply(turns[1], "for one alone")
        assert await one.wait_message(20)
        [reply] = await one.checkpoint()
        assert (reply.body, reply.correlation_id) == ({"answer": "for one alone"}, "q1")
        assert await three.checkpoint() == []


async def test_a_query_is_answered_beside_the_work_from_a_copy(spawn: Spawn) -> None:
    parent = spawn()
    session = spawn("x", parent=parent.id)
    async with Child(parent.identity) as one, Child(session.identity) as two:
        two.state = {"done": [1, 2]}

        @two.on_query
        async def answer(question: str, state: Any) -> str:
            state["done"].append("the copy is the handler's own")
            return f"{question} {len(two.state['done'])}"

        asked = await one.send("ask", {"question": "how many?"}, to=f"session:{session.id}", correlation_id="q1")
        assert asked == "delivered_live"
        assert await one.wait_message(20)
        [reply] = await one.checkpoint()
        assert (reply.message_kind, reply.body, reply.correlation_id) == ("reply", {"answer": "how many? 2"}, "q1")
        assert await two.checkpoint() == []
        await one.send("ask", {"question": "sure?", "mode": "steer"}, to=f"session:{session.id}")
        assert await two.wait_message(20)
        [turn] = await two.checkpoint()
        assert turn.text == "sure?"
        await two.reply(turn, {"sure": True})
        assert await one.wait_message(20)
        assert (await one.checkpoint())[0].body == {"answer": {"sure": True}}


async def test_a_kill_between_consume_and_its_answer_is_told_by_the_claim(house: House, spawn: Spawn) -> None:
    """The execution is committed, the answer is lost with the web process: the same claim gets it again."""
    session = spawn()
    async with Child(session.identity) as child:
        asking = asyncio.create_task(child.approve("shell", {"command": "ls"}, **ASK))
        approval = await threaded(session.decide, "approve")
        decision = await asking
        arrived = child._wire.connection._arrived
        lost: list[Any] = []

        def lose_the_answer(frame: Any) -> None:
            if isinstance(frame, ApprovalConsumed) and not lost:
                lost.append(frame)
            else:
                arrived(frame)

        child._wire.connection._arrived = lose_the_answer
        consuming = asyncio.create_task(child.consume(decision))
        await wait_until_async(lambda: lost)
        assert session.client.approval(approval["id"])["consumed_at"]
        assert not consuming.done()
        house.kill("web1")  # (Not from a thread: what it starts would end with that thread.)
        house.start("web1")
        assert await asyncio.wait_for(consuming, 60) == {"command": "ls"}
        await child.complete()
    assert session.now()["status"] == "completed"
    assert "unknown_outcome" not in types(session)


async def test_what_was_refused_is_raised_and_the_child_goes_on(spawn: Spawn) -> None:
    session = spawn()
    async with Child(session.identity) as child:
        with pytest.raises(Refused, match="content"):
            await child.transcript({"role": "user", "content": None})
        with pytest.raises(Refused):
            await child.send("task", "hello", to="nowhere at all")
        await child.transcript({"role": "user", "content": "kept"})
        await child.emit("note")
        await child.flushed()
        await child.complete("done")
    history = session.client.get(f"sessions/{session.id}/history")["results"]
    assert [item["content"] for item in history] == ["kept"]
    assert session.now()["status"] == "completed"
