"""The run, the history in it, the transcript that becomes it, and the end."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Callable, MutableMapping
from typing import Any

import pytest

from accounts import projects
from core.concurrency.threadpool import run_in_threadpool
from ledger import wakeups
from mailbox import delivery
from mailbox.envelope import NewMessage
from mailbox.models import Message as StoredMessage
from orchestration import presence
from orchestration.connections import outgoing, terminal
from orchestration.connections import run as connection_run
from orchestration.connections.consumer import ChildConsumer
from orchestration.connections.fencing import ConnectionRejected
from orchestration.models import Session, TranscriptItem
from orchestration.sessions import lifecycle
from orchestration.sessions import spawn as session_spawn
from orchestration.states import Status
from tests.orchestration.connections.conftest import TESTS, Server, Spawn
from tests.waiting import chance, wait_until


def items(*texts: str, role: str = "assistant") -> list[dict[str, Any]]:
    return [{"role": role, "content": text, "id": f"i-{text}"} for text in texts]


def again(child: Spawn) -> Spawn:
    """The next attempt of a session that is over; its token in place of the old one."""
    lifecycle.retry(projects.default(), child.id, TESTS)
    child.token = str(session_spawn.fresh_token(projects.default(), child.id, TESTS).child_token)
    return child


def test_a_run_says_all_that_the_work_needs(server: Server, spawn: Callable[..., Spawn]) -> None:
    child = spawn(
        role="clerk",
        provider="acme",
        model="m-1",
        reasoning_effort="high",
        disabled_tools=("rm",),
        metadata={"child_watchdog.max_idle_secs": "77"},
    )
    with server.child(child, run=False) as peer:
        run = peer.hear("run")
    assert run["session"] == {"session_id": str(child.id), "root_session_id": str(child.id), "depth": 0}
    assert run["model"] == {"provider": "acme", "model": "m-1"}
    assert (run["role"], run["reasoning_effort"], run["disabled_tools"]) == ("clerk", "high", ["rm"])
    assert run["limits"] == {"max_total_secs": 3600, "max_idle_secs": 77}
    assert (run["attempt"], run["messages"]) == (1, [])


def test_a_run_is_sent_until_it_is_acknowledged_and_again_when_needed(server: Server, child: Spawn) -> None:
    for _ in range(2):
        with server.child(child, run=False) as peer:
            peer.hear("run")
    with server.child(child):
        wait_until(lambda: child.attempt().run_acked_at)
    with server.child(child, run=False) as peer:
        assert peer.silent()
    with server.child(child, run=False, need_run=True) as peer:
        peer.hear("run")


def test_the_first_word_makes_the_session_run(server: Server, child: Spawn) -> None:
    with server.knock(child) as peer:
        assert child.session.status == Status.STARTING
        peer.say("hello", attempt=1)
        peer.hear("welcome")
        assert child.session.status == Status.RUNNING
        assert child.attempt().running_at is not None


def test_a_welcome_names_its_limits(server: Server, child: Spawn) -> None:
    with server.child(child) as peer:
        welcome = peer.welcome  # type: ignore[attr-defined]
    assert welcome["limits"] == {"max_frame_bytes": 1024 * 1024, "max_unacked_events": 256}
    assert (welcome["ping_secs"], welcome["session_id"], welcome["attempt"]) == (20, str(child.id), 1)


# --- the transcript -----------------------------------------------------------------------------------------


def test_a_transcript_is_kept_in_parts_each_item_once(server: Server, child: Spawn) -> None:
    with server.child(child) as peer:
        peer.say("transcript", first=0, items=items("a", "b"))
        assert peer.hear("transcript_ack")["next"] == 2
        peer.say("transcript", first=1, items=items("b", "c"))
        assert peer.hear("transcript_ack")["next"] == 3
        peer.say("transcript", first=0, items=items("a"))
        assert peer.hear("transcript_ack")["next"] == 3
    kept = TranscriptItem.objects.filter(session=child.id)
    assert [item.content for item in kept] == ["a", "b", "c"]


def test_a_hole_in_the_transcript_is_refused(server: Server, child: Spawn) -> None:
    with server.child(child) as peer:
        peer.say("transcript", first=1, items=items("b"))
        assert peer.hear("error")["code"] == "conflict"
        peer.say("transcript", first=0, items=items("a"))
        assert peer.hear("transcript_ack")["next"] == 1


def test_the_next_attempt_is_told_the_history_oldest_first(server: Server, child: Spawn) -> None:
    with server.child(child) as peer:
        peer.say("transcript", first=0, items=items("a"))
        peer.hear("transcript_ack")
        (sent,) = delivery.deliver(
            projects.default().pk, child.session.address, [NewMessage(message_kind="task", body={"text": "steer"})]
        )
        peer.hear("message")
        peer.say("message_admitted", ids=[sent.id])
        peer.say("transcript", first=1, items=items("b"))
        peer.hear("transcript_ack")
        peer.say("terminal", status="error", error="stuck", transcript=items("c"))
        peer.hear("terminal_ack")
    with server.knock(again(child)) as peer:
        peer.say("hello", attempt=2)
        peer.hear("welcome")
        run = peer.hear("run")
    assert [(entry["content"], entry["id"]) for entry in run["messages"]] == [
        ("a", "i-a"),
        ("steer", sent.id),
        ("b", "i-b"),
        ("c", "i-c"),
    ]


def test_a_message_that_the_transcript_holds_is_told_once(server: Server, child: Spawn) -> None:
    with server.child(child) as peer:
        (sent,) = delivery.deliver(
            projects.default().pk, child.session.address, [NewMessage(message_kind="task", body={"text": "steer"})]
        )
        peer.hear("message")
        peer.say("message_admitted", ids=[sent.id])
        peer.say("transcript", first=0, items=[{"role": "user", "content": "steer", "id": sent.id}])
        peer.hear("transcript_ack")
    with server.child(child, run=False, need_run=True) as peer:
        assert [entry["id"] for entry in peer.hear("run")["messages"]] == [sent.id]


def test_a_history_that_is_too_long_goes_on_at_its_address(
    server: Server, child: Spawn, timings: Callable[..., None]
) -> None:
    timings(run_history_bytes=2000)
    with server.child(child) as peer:
        peer.say("transcript", first=0, items=items(*(f"{number:0200d}" for number in range(10))))
        peer.hear("transcript_ack")
    with server.child(child, run=False, need_run=True) as peer:
        run = peer.hear("run")
    assert 0 < len(run["messages"]) < 10
    address, cursor = run["history_url"].split("?cursor=")
    assert address.endswith(f"/api/v1/sessions/{child.id}/history")
    everything, page = run["messages"], server.get(run["history_url"], child)
    while page["next"]:
        everything += page["results"]
        page = server.get(run["history_url"].replace(cursor, page["next"]), child)
    everything += page["results"]
    assert [int(entry["content"]) for entry in everything] == list(range(10))


# --- the end ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("status", ["completed", "error", "cancelled"])
def test_a_terminal_ends_the_session_and_the_connection(server: Server, child: Spawn, status: str) -> None:
    with server.child(child) as peer:
        peer.say("terminal", status=status, result={"rows": 3}, error="why" if status == "error" else None)
        assert peer.hear("terminal_ack")["status"] == status
        assert peer.code() == 1000
    session = child.session
    assert (session.status, session.result) == (status, '{"rows":3}')
    with server.knock(child) as peer:
        assert peer.code() == 4410


def test_the_end_that_a_child_declares_is_acknowledged_before_the_connection_is_found_over(
    server: Server, child: Spawn, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The look began before the end, and finds the attempt over."""
    end, urgent = terminal.end, outgoing.urgent
    began, ended, looked = threading.Event(), threading.Event(), threading.Event()

    def slow_end(*args: Any, **kwargs: Any) -> None:
        end(*args, **kwargs)
        ended.set()
        assert looked.wait(20)
        chance(0.5)  # Whoever looked may act on what it saw.

    def slow_look(*args: Any, **kwargs: Any) -> Any:
        began.set()
        assert ended.wait(20)
        try:
            return urgent(*args, **kwargs)
        except ConnectionRejected:
            looked.set()
            raise

    with server.child(child) as peer:
        monkeypatch.setattr(terminal, "end", slow_end)
        monkeypatch.setattr(outgoing, "urgent", slow_look)
        assert wakeups.publish([f"session:{child.id}"])
        assert began.wait(20)
        peer.say("terminal", status="completed")
        assert peer.hear("terminal_ack", timeout=25)["status"] == "completed"
        assert peer.code() == 1000


def test_the_end_that_a_plain_child_declares_is_done_though_its_run_was_not_noted_before(
    server: Server, child: Spawn, monkeypatch: pytest.MonkeyPatch
) -> None:
    end, acknowledge = terminal.end, connection_run.acknowledge
    ended, refused = threading.Event(), threading.Event()

    def slow_end(*args: Any, **kwargs: Any) -> None:
        end(*args, **kwargs)
        ended.set()
        assert refused.wait(20)
        chance(0.5)  # Whoever was refused may act on it.

    def late_acknowledge(*args: Any, **kwargs: Any) -> None:
        assert ended.wait(20)
        try:
            acknowledge(*args, **kwargs)
        finally:
            refused.set()

    monkeypatch.setattr(terminal, "end", slow_end)
    monkeypatch.setattr(connection_run, "acknowledge", late_acknowledge)
    with server.plain(child) as peer:
        peer.hear("run")
        peer.say("terminal", status="completed")
        assert peer.code(timeout=25) == 1000


def test_a_terminal_that_was_sent_before_the_socket_went_is_taken(server: Server, child: Spawn) -> None:
    with server.plain(child) as peer:
        peer.hear("run")
        for _ in range(20):
            peer.say("event", event={"type": "note"})
        peer.say("terminal", status="completed", result="and gone")
    wait_until(lambda: child.session.status == Status.COMPLETED)
    assert child.attempt().acked_event_seq == 20


@pytest.mark.parametrize(("dialect", "written"), [("wardroom.plain", "message"), ("wardroom.v1", "event_ack")])
async def test_an_end_that_is_said_while_leaving_is_taken_though_something_was_being_written(
    child: Spawn, broker: object, dialect: str, written: str
) -> None:
    """Use a consumer with a fake transport: its writes reach nobody, and earlier frames are still unread."""
    await run_in_threadpool(_post, child)
    says: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
    left = asyncio.Event()

    def say(*frames: dict[str, Any]) -> None:
        for frame in frames:
            says.put_nowait({"type": "websocket.receive", "text": json.dumps(frame)})

    async def send(event: MutableMapping[str, Any]) -> None:
        if json.loads(event.get("text") or "{}").get("kind") == written:
            left.set()
            raise OSError("the peer has left")

    async def receive() -> dict[str, Any]:
        if says.empty():
            await left.wait()
            await run_in_threadpool(chance, 0.3)  # Whoever failed to write may act on it.
            say({"kind": "terminal", "status": "completed", "result": "and gone"})
            says.put_nowait({"type": "websocket.disconnect", "code": 1001})
        return await says.get()

    says.put_nowait({"type": "websocket.connect"})
    if dialect == "wardroom.v1":
        say({"kind": "hello", "attempt": 1}, {"kind": "event", "seq": 1, "event": {"type": "note"}})
    headers = [(b"authorization", f"Bearer {child.token}".encode())]
    scope: dict[str, Any] = {"type": "websocket", "headers": headers, "subprotocols": [dialect]}
    scope["url_route"] = {"kwargs": {"session_id": str(child.id)}}
    try:
        await asyncio.wait_for(ChildConsumer()(scope, receive, send), 30)
    finally:
        await run_in_threadpool(presence.end)
    session = await Session.objects.aget(pk=child.id)
    assert (session.status, session.result) == (Status.COMPLETED, "and gone")
    assert await run_in_threadpool(_state) == "new", "it was not read"


def _post(child: Spawn) -> None:
    message = NewMessage(message_kind="task", body={"text": "too late"})
    delivery.deliver(projects.default().pk, child.session.address, [message])


def _state() -> str:
    return str(StoredMessage.objects.get(message_kind="task").state)


def test_a_result_that_is_too_long_is_refused_and_a_shorter_one_taken(server: Server, child: Spawn) -> None:
    with server.child(child) as peer:
        peer.say("terminal", status="completed", result="x" * (128 * 1024 + 1))
        assert peer.hear("error")["ref"] == "terminal"
        peer.say("terminal", status="completed", result="x" * 128 * 1024)
        peer.hear("terminal_ack")


def test_a_suspended_session_waits_for_its_children_and_is_told_so_when_it_goes_on(
    server: Server, spawn: Callable[..., Spawn]
) -> None:
    parent = spawn()
    with server.child(parent) as peer:
        below = spawn(parent=parent.id)
        peer.say("terminal", status="suspended", wait_for="all", children=[str(below.id)])
        assert peer.hear("terminal_ack")["status"] == "suspended"
        assert peer.code() == 1000
    assert parent.session.status == Status.SUSPENDED
    with server.child(below) as peer:
        peer.say("terminal", status="completed", result="found it")
        peer.hear("terminal_ack")
    wait_until(lambda: parent.session.attempt == 2)
    token = session_spawn.fresh_token(projects.default(), parent.id, TESTS).child_token
    with server.knock(parent, token=token) as peer:
        peer.say("hello", attempt=2)
        peer.hear("welcome")
        resume = peer.hear("run")["resume"]
        assert resume["children"] == [{"session_id": str(below.id), "status": "completed"}]
        assert peer.hear("message")["message_kind"] == "completion"


def test_waiting_for_strangers_is_refused_and_the_attempt_goes_on(
    server: Server, child: Spawn, spawn: Callable[..., Spawn]
) -> None:
    with server.child(child) as peer:
        for stranger in (str(spawn().id), "not-an-id"):
            peer.say("terminal", status="suspended", children=[stranger])
            assert peer.hear("error")["code"] == "invalid"
        peer.say("event", seq=1, event={"type": "note"})
        peer.hear("event_ack")
    assert child.session.status == Status.RUNNING
