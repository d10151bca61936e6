"""A child that is killed between a safe point and the report of it: no message is lost, none is admitted twice."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from tests.e2e.conformance.conftest import Session, Spawn
from tests.e2e.conformance.test_sdk import drop, threaded
from tests.waiting import wait_until, wait_until_async
from wardroom.admitted import AdmittedSet
from wardroom.child import Child
from wardroom.protocol import Frame, MessageAdmitted

pytestmark = [pytest.mark.stack, pytest.mark.surface, pytest.mark.timeout(300)]

#: A child process. It says what it found, then waits to be killed, or ends.
SCRIPT = """
import asyncio, json, os, sys
from wardroom import Child
from wardroom.protocol import MessageAdmitted

async def main(mode):
    async with Child.from_env() as child:
        if mode == "unheard":
            send = child._wire.connection.send
            child._wire.connection.send = lambda *frames: send(
                *(frame for frame in frames if not isinstance(frame, MessageAdmitted))
            )
        history = [(entry["role"], entry["content"]) for entry in child.run.messages]
        if mode != "last":
            await child.wait_message(60)
        else:
            await child.emit("here")
            await child.flushed()
        admitted = [message.text for message in await child.checkpoint()]
        print(json.dumps({"history": history, "admitted": admitted}), flush=True)
        if mode == "unheard":
            await asyncio.Event().wait()
        await child.complete()

def plain():
    from wardroom.sync import Child
    with Child.from_env() as child:
        child.emit("here")
        child.flushed()
        history = [(entry["role"], entry["content"]) for entry in child.run.messages]
        print(json.dumps({"history": history, "admitted": [each.text for each in child.checkpoint()]}), flush=True)
        child.complete()

plain() if sys.argv[1] == "plain" else asyncio.run(main(sys.argv[1]))
"""


def process(session: Session, mode: str, folder: Path | None) -> subprocess.Popen[str]:
    environment = {
        **os.environ,
        "WARDROOM_URL": session.client.url,
        "WARDROOM_SESSION": session.id,
        "WARDROOM_ATTEMPT": str(session.attempt),
        "WARDROOM_TOKEN": session.token,
    }
    if folder is not None:
        environment["WARDROOM_CHILD_FOLDER"] = str(folder)
    command = [sys.executable, "-c", SCRIPT, mode]
    return subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True)


def lose_reports(child: Child, monkeypatch: pytest.MonkeyPatch) -> None:
    """Lose what the child reports as admitted, as a connection does that breaks at this moment."""
    send = child._wire.connection.send

    def losing(*frames: Frame) -> None:
        send(*(frame for frame in frames if not isinstance(frame, MessageAdmitted)))

    monkeypatch.setattr(child._wire.connection, "send", losing)


def said(child: subprocess.Popen[str]) -> dict[str, Any]:
    assert child.stdout is not None
    found: dict[str, Any] = json.loads(child.stdout.readline())
    return found


def counts(session: Session) -> dict[str, Any]:
    found: dict[str, Any] = session.client.get(f"mailboxes/session:{session.id}")
    return found


def end(child: subprocess.Popen[str]) -> None:
    child.communicate(timeout=60)
    assert child.returncode == 0


def kill(child: subprocess.Popen[str]) -> None:
    os.kill(child.pid, signal.SIGKILL)
    child.communicate()
    assert child.returncode == -signal.SIGKILL


@pytest.mark.parametrize("face", ["last", "plain"])
def test_a_message_of_a_killed_child_is_in_the_history_of_the_next_one(spawn: Spawn, tmp_path: Path, face: str) -> None:
    session = spawn()
    session.client.message(session.id, "look here")
    first = process(session, "unheard", tmp_path)
    assert said(first) == {"history": [], "admitted": ["look here"]}
    kill(first)
    assert counts(session)["new"] == 1, "Wardroom has not heard of it"
    second = process(session, face, tmp_path)
    assert said(second) == {"history": [["user", "look here"]], "admitted": []}
    end(second)
    assert (counts(session)["new"], counts(session)["admitted"]) == (0, 1)
    history = session.client.get(f"sessions/{session.id}/history")["results"]
    assert [entry["content"] for entry in history] == ["look here"]


def test_a_message_that_a_killed_child_never_saw_comes_to_the_next_one(spawn: Spawn, tmp_path: Path) -> None:
    session = spawn()
    first = process(session, "waits", tmp_path)
    kill(first)
    session.client.message(session.id, "look here")
    second = process(session, "waits", tmp_path)
    assert said(second) == {"history": [], "admitted": ["look here"]}
    end(second)


def test_without_a_folder_the_next_child_admits_the_message(spawn: Spawn) -> None:
    """Nothing tells it that a process of before has seen it. It is lost by nobody, and once in the history."""
    session = spawn()
    session.client.message(session.id, "look here")
    first = process(session, "unheard", None)
    assert said(first)["admitted"] == ["look here"]
    kill(first)
    second = process(session, "waits", None)
    assert said(second) == {"history": [], "admitted": ["look here"]}
    end(second)
    assert [entry["content"] for entry in session.client.get(f"sessions/{session.id}/history")["results"]] == [
        "look here"
    ]


async def test_an_id_that_the_set_has_evicted_is_not_admitted_twice(
    spawn: Spawn, monkeypatch: pytest.MonkeyPatch
) -> None:
    session = spawn()
    many = 100
    messages = [{"id": f"{session.id}-{number}", "message_kind": "task", "body": str(number)} for number in range(many)]
    await threaded(session.client.post, f"mailboxes/session:{session.id}/messages", {"messages": messages})
    async with Child(session.identity, admitted=AdmittedSet(limit=10)) as child:
        lose_reports(child, monkeypatch)
        await wait_until_async(lambda: len(child._wire.inbox) == many)
        assert [message.text for message in await child.checkpoint()] == [str(number) for number in range(many)]
        assert len(child.admitted) == 10
        monkeypatch.undo()  # The reports are lost with this connection.
        await drop(child)
        await wait_until_async(lambda: threaded(lambda: counts(session)["new"] == 0))
        assert await child.checkpoint() == []
        await child.complete()
    assert counts(session)["admitted"] == many


async def test_a_message_that_the_child_wrote_into_its_history_comes_at_no_checkpoint(spawn: Spawn) -> None:
    session = spawn()
    async with Child(session.identity) as child:
        await threaded(session.client.message, session.id, "look here", id=uuid4().hex)
        assert await child.wait_message(30)
        [id] = child._wire.inbox
        await child.transcript({"role": "user", "content": "look here", "id": id})
        assert await child.checkpoint() == []
    wait_until(lambda: counts(session)["new"] == 0)


async def test_a_history_longer_than_a_run_still_decides(spawn: Spawn, monkeypatch: pytest.MonkeyPatch) -> None:
    """The marker is in the part of the history that the run frame has no room for."""
    session = spawn()
    marker = uuid4().hex
    first = Child(session.identity)
    await first.__aenter__()
    for number in range(6):
        await first.transcript({"role": "tool", "content": f"{number}" * 120_000})
    lose_reports(first, monkeypatch)
    await threaded(session.client.message, session.id, "look here", id=marker)
    assert await first.wait_message(30)
    [message] = await first.checkpoint()
    await first.transcript({"role": "user", "content": message.text, "id": message.id})
    for task in first._tasks:
        task.cancel()
    async with Child(session.identity) as second:
        assert second.run.history_url
        assert marker not in {entry.get("id") for entry in second.run.messages}
        await second.emit("here")
        await second.flushed()
        assert not await second.wait_message(1)
        assert await second.checkpoint() == []
        await second.complete()
    wait_until(lambda: counts(session)["new"] == 0)
