"""The logic of a connection without a socket: a peer in memory says texts and keeps the frames that it gets."""

from __future__ import annotations

import asyncio
import json
import uuid
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from threading import Event
from typing import Any, TypeVar

import pytest
from django.db import OperationalError

from accounts import projects
from accounts.models import Credential
from approvals.models import Approval
from core.concurrency.threadpool import run_in_threadpool
from orchestration import presence
from orchestration.connections import approvals, outgoing
from orchestration.connections import run as connection_run
from orchestration.connections.connection import Connection
from orchestration.connections.handshake import Offer
from orchestration.connections.transport import CloseConnection, Inbox, PeerDisconnected
from orchestration.sessions import cancel
from tests.orchestration.connections.conftest import PATIENCE, TESTS, Spawn
from tests.orchestration.connections.test_approvals import BODY, decide
from tests.waiting import wait_until
from wardroom import protocol
from wardroom.protocol import V1, Frame

F = TypeVar("F", bound=Frame)


class Memory:
    """A child without a socket."""

    def __init__(self) -> None:
        self.subprotocol: str | None = None
        self.says: asyncio.Queue[str | None] = asyncio.Queue()
        self.frames: asyncio.Queue[Frame] = asyncio.Queue()
        self.closed: asyncio.Future[tuple[int, str]] = asyncio.get_running_loop().create_future()
        self.has_left = False

    async def accept(self, subprotocol: str | None) -> None:
        self.subprotocol = subprotocol

    async def read(self, inbox: Inbox) -> None:
        while (text := await self.says.get()) is not None:
            await inbox.put(text)
        await inbox.put(CloseConnection())

    async def send(self, frame: Frame) -> None:
        if self.has_left:
            raise PeerDisconnected()
        self.frames.put_nowait(frame)

    async def close(self, code: int, reason: str) -> None:
        self.closed.set_result((int(code), reason))

    def say(self, kind: str, **fields: Any) -> None:
        self.says.put_nowait(json.dumps({"kind": kind, **fields}))

    async def hear(self, kind: type[F]) -> F:
        frame = await asyncio.wait_for(self.frames.get(), PATIENCE)
        assert isinstance(frame, kind), frame
        return frame

    async def code(self) -> int:
        return (await asyncio.wait_for(self.closed, PATIENCE))[0]


@asynccontextmanager
async def served(child: Spawn, token: str = "") -> AsyncIterator[Memory]:
    memory = Memory()
    connection = Connection(Offer(token or child.token, False, V1), "here", memory)
    serving = asyncio.create_task(connection.serve(str(child.id)))
    try:
        yield memory
        memory.says.put_nowait(None)
        await asyncio.wait_for(serving, PATIENCE)
    finally:
        serving.cancel()
        await run_in_threadpool(presence.end)


async def begin(memory: Memory) -> None:
    memory.say("hello", attempt=1)
    await memory.hear(protocol.Welcome)
    await memory.hear(protocol.Run)
    memory.say("run_ack")


async def test_a_gated_call_from_hello_to_the_end(child: Spawn, broker: object) -> None:
    request = str(uuid.uuid4())
    async with served(child) as memory:
        await begin(memory)
        assert memory.subprotocol == V1
        memory.say("approval_request", id=request, body=BODY)
        await memory.hear(protocol.ApprovalRegistered)
        await run_in_threadpool(decide, request)
        reply = await memory.hear(protocol.ApprovalReply)
        memory.say("approval_ack", id=request, state="received")
        memory.say("approval_ack", id=request, state="consumed", digest=reply.digest, claim="mine")
        assert (await memory.hear(protocol.ApprovalConsumed)).id == request
        memory.say("terminal", status="completed", result="done")
        await memory.hear(protocol.TerminalAck)
        assert await memory.code() == 1000
    approval = await Approval.objects.aget(request_id=request)
    assert approval.delivered_at is not None and approval.consumed_at is not None
    assert (await run_in_threadpool(lambda: child.session)).result == "done"


async def test_an_unknown_token_gets_a_code_and_no_frame(child: Spawn, broker: object) -> None:
    async with served(child, token="wr_child_0") as memory:
        assert await memory.code() == 4401
        assert memory.frames.empty()
    assert (await run_in_threadpool(child.attempt)).connection == 0


async def test_what_a_child_said_before_it_left_is_done(child: Spawn, broker: object) -> None:
    async with served(child) as memory:
        await begin(memory)
        memory.has_left = True
        memory.say("event", seq=1, event={"type": "note"})
        memory.say("terminal", status="completed")
    assert (await run_in_threadpool(lambda: child.session)).status == "completed"


async def test_a_refused_frame_ends_nothing(child: Spawn, broker: object) -> None:
    async with served(child) as memory:
        await begin(memory)
        memory.say("approval_ack", id="unknown", state="received")
        assert (await memory.hear(protocol.Error)).ref == "unknown"
        memory.say("event", seq=1, event={"type": "note"})
        assert (await memory.hear(protocol.EventAck)).seq == 1


async def test_the_end_is_recorded_when_the_peer_is_gone(child: Spawn, broker: object) -> None:
    async with served(child) as memory:
        await begin(memory)
    assert (await run_in_threadpool(child.attempt)).connection_lost_at is not None


@pytest.mark.parametrize(
    ("error", "code"), [(OperationalError("away"), 1013), (ValueError("a bug"), 1011), (OSError(24, "files"), 1013)]
)
async def test_a_failure_of_ours_asks_the_child_to_come_back(
    child: Spawn, broker: object, monkeypatch: pytest.MonkeyPatch, error: Exception, code: int
) -> None:
    def fail(*args: Any) -> None:
        raise error

    monkeypatch.setattr(connection_run, "welcome", fail)
    async with served(child) as memory:
        memory.say("hello", attempt=1)
        assert await memory.code() == code


async def test_a_read_that_fails_is_tried_again(
    child: Spawn, broker: object, monkeypatch: pytest.MonkeyPatch, timings: Callable[..., None]
) -> None:
    timings(connection_poll_secs=0.05)
    urgent, tried = outgoing.urgent, list[int]()

    def fail(*args: Any) -> Any:
        tried.append(1)
        if len(tried) < 3:
            raise OperationalError("away")
        return urgent(*args)

    monkeypatch.setattr(outgoing, "urgent", fail)
    async with served(child) as memory:
        await begin(memory)
    assert len(tried) >= 3


def fails_once(monkeypatch: pytest.MonkeyPatch, module: Any, name: str) -> list[str]:
    """Make the next call of this function fail, as with a database that is away for a moment. Return what failed."""
    real, failed = getattr(module, name), list[str]()

    def fail(*args: Any, **options: Any) -> Any:
        monkeypatch.setattr(module, name, real)
        failed.append(name)
        raise OperationalError("away")

    monkeypatch.setattr(module, name, fail)
    return failed


async def test_a_look_that_fails_half_way_loses_no_run(
    child: Spawn, broker: object, monkeypatch: pytest.MonkeyPatch, timings: Callable[..., None]
) -> None:
    timings(connection_poll_secs=0.05)
    failed = fails_once(monkeypatch, approvals, "undelivered")
    async with served(child) as memory:
        await begin(memory)
    assert failed == ["undelivered"]


async def test_a_cancel_that_cannot_be_recorded_loses_no_decision(
    child: Spawn, broker: object, monkeypatch: pytest.MonkeyPatch, timings: Callable[..., None]
) -> None:
    timings(connection_poll_secs=0.05)
    request = str(uuid.uuid4())
    async with served(child) as memory:
        await begin(memory)
        memory.say("approval_request", id=request, body=BODY)
        await memory.hear(protocol.ApprovalRegistered)
    await run_in_threadpool(decide, request)
    await run_in_threadpool(lambda: cancel.cancel(projects.default(), child.id, "enough", TESTS))
    fails_once(monkeypatch, outgoing, "note_cancel")
    async with served(child) as memory:
        memory.say("hello", attempt=1)
        await memory.hear(protocol.Welcome)
        await memory.hear(protocol.Cancel)
        assert (await memory.hear(protocol.ApprovalReply)).id == request


async def test_a_credential_that_becomes_unreadable_closes_its_connection(
    child: Spawn, broker: object, timings: Callable[..., None]
) -> None:
    timings(connection_poll_secs=0.05)
    async with served(child) as memory:
        await begin(memory)
        await Credential.objects.filter(subject=str(child.id)).aupdate(secret_hash="\u00e9" * 64)
        assert await memory.code() == 4401


async def test_a_registration_that_is_written_during_a_look_holds_its_answer_back_no_longer(
    spawn: Callable[..., Spawn], broker: object, monkeypatch: pytest.MonkeyPatch, timings: Callable[..., None]
) -> None:
    timings(connection_poll_secs=60)
    child, looked, register = (
        await run_in_threadpool(lambda: spawn(disabled_tools=("shell",))),
        Event(),
        approvals.register,
    )

    def registered(*args: Any) -> Any:
        """The answer is there at once, and a look finds it before the registration is written."""
        frames = register(*args)
        assert looked.wait(PATIENCE)
        return frames

    def hold_back(state: outgoing.ConnectionState, name: str, value: Any) -> None:
        if name == "held_back" and value:
            looked.set()
            wait_until(lambda: not value & state.asking)
        object.__setattr__(state, name, value)

    monkeypatch.setattr(approvals, "register", registered)
    monkeypatch.setattr(outgoing.ConnectionState, "__setattr__", hold_back)
    async with served(child) as memory:
        await begin(memory)
        memory.say("approval_request", id="one", body=BODY)
        await memory.hear(protocol.ApprovalRegistered)
        assert (await memory.hear(protocol.ApprovalReply)).decision == "denied"
