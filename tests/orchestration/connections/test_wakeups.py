"""A connection looks at its rows when there may be something to send, and not after its child's own frames."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from typing import Any

import pytest

from accounts import projects
from mailbox import delivery
from mailbox.envelope import NewMessage
from orchestration import presence
from orchestration.connections import approvals, fencing, messages, outgoing
from orchestration.sessions import lifecycle
from tests.orchestration.connections.conftest import Peer, Server, Spawn
from tests.orchestration.connections.test_approvals import BODY, ask, decide
from tests.waiting import wait_until
from wardroom import frames, protocol


class Looks:
    """The looks of all connections: at decisions, and at messages."""

    def __init__(self, patch: pytest.MonkeyPatch) -> None:
        self.urgent = self.messages = 0
        self._count(patch, outgoing, "urgent")
        self._count(patch, messages, "waiting", "messages")

    def _count(self, patch: pytest.MonkeyPatch, module: Any, name: str, counter: str = "urgent") -> None:
        plain = getattr(module, name)

        def look(*args: Any) -> Any:
            setattr(self, counter, getattr(self, counter) + 1)
            return plain(*args)

        patch.setattr(module, name, look)

    def __call__(self) -> tuple[int, int]:
        return self.urgent, self.messages


@pytest.fixture
def looks(
    server: Server, spawn: Callable[..., Spawn], monkeypatch: pytest.MonkeyPatch, timings: Callable[..., None]
) -> Looks:
    timings(connection_poll_secs=120)
    looks = Looks(monkeypatch)
    # The first connection of a process makes its hub subscribe, which wakes everybody once.
    with server.child(spawn()) as first:
        settled(first, 1)
    looks.urgent = looks.messages = 0
    return looks


def settled(peer: Peer, seq: int) -> None:
    """A look that is on its way has begun when this returns."""
    peer.say("event", seq=seq, event={"type": "note"})
    assert peer.hear("event_ack")["seq"] == seq
    assert peer.silent(0.5)


def test_a_connection_looks_once_when_it_begins(server: Server, child: Spawn, looks: Looks) -> None:
    with server.child(child) as peer:
        settled(peer, 1)
        assert looks() == (1, 1)


def test_a_childs_own_frames_do_not_make_its_connection_look(server: Server, child: Spawn, looks: Looks) -> None:
    with server.child(child) as peer:
        settled(peer, 1)
        request = ask(peer)
        peer.say("transcript", first=0, items=[{"role": "user", "content": "x"}])
        peer.hear("transcript_ack")
        settled(peer, 2)
        assert looks() == (1, 1)
        decide(request)
        digest = peer.hear("approval_reply")["digest"]
        assert looks() == (2, 1)  # A decision alone is no reason to look for messages.
        peer.say("approval_ack", id=request, state="received")
        peer.say("approval_ack", id=request, state="consumed", digest=digest, claim="mine")
        peer.hear("approval_consumed")
        settled(peer, 3)
        assert looks() == (2, 1)


def test_a_message_makes_it_look_until_there_are_no_more(server: Server, child: Spawn, looks: Looks) -> None:
    with server.child(child) as peer:
        settled(peer, 1)
        new = NewMessage(message_kind="task", body={"text": "go"})
        delivery.deliver(projects.default().pk, child.session.address, [new])
        message = peer.hear("message")
        peer.say("message_admitted", ids=[message["id"]])
        settled(peer, 2)
        assert looks() == (3, 3)


def test_a_withdrawn_request_is_answered(server: Server, child: Spawn, looks: Looks) -> None:
    with server.child(child) as peer:
        request = ask(peer)
        peer.say("approval_withdraw", id=request)
        assert peer.hear("approval_reply")["decision"] == "cancelled"


def test_an_older_connection_hears_that_it_is_replaced(server: Server, child: Spawn, looks: Looks) -> None:
    with server.child(child) as older:
        settled(older, 1)
        with server.child(child, run=False) as newer:
            assert older.code() == 4409
            settled(newer, 2)
            assert looks() == (3, 2)


def test_the_end_of_its_attempt_makes_it_look(server: Server, child: Spawn, looks: Looks) -> None:
    with server.child(child) as peer:
        settled(peer, 1)
        lifecycle.finish(child.id, 1, "timeout", error="too long")
        assert peer.hear("cancel")["reason"] == "too long"
        assert peer.code() == 4410


def test_its_own_end_does_not(server: Server, child: Spawn, looks: Looks) -> None:
    with server.child(child) as peer:
        settled(peer, 1)
        peer.say("terminal", status="completed")
        peer.hear("terminal_ack")
        assert peer.code() == 1000
    wait_until(lambda: not server.tasks())
    assert looks() == (1, 1)


def test_a_decision_that_comes_before_its_registration_is_written_follows_it(
    server: Server, child: Spawn, looks: Looks, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The look sees the decision while the registration waits for the socket: nothing else would wake it again."""
    register = approvals.register

    def decided(*args: Any) -> Any:
        frames = register(*args)
        before = looks.urgent
        decide(args[1].id)
        wait_until(lambda: looks.urgent > before)
        return frames

    monkeypatch.setattr(approvals, "register", decided)
    with server.child(child) as peer:
        settled(peer, 1)
        request = ask(peer)
        assert peer.hear("approval_reply")["id"] == request


def test_a_request_that_is_registered_during_a_look_is_not_answered_before_its_registration(
    child: Spawn, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is asked and decided after the look began, and before the look reads the decisions."""
    claim = fencing.claim(fencing.authenticate(child.token, str(child.id)))
    state = outgoing.ConnectionState(run=True)
    request = str(uuid.uuid4())
    read = approvals.undelivered

    def late(*args: Any, **options: Any) -> Any:
        monkeypatch.undo()
        state.asking.add(request)
        approvals.register(claim, protocol.ApprovalRequest(id=request, body=frames.ApprovalBody(**BODY)))
        decide(request)
        return read(*args, **options)

    monkeypatch.setattr(approvals, "undelivered", late)
    assert outgoing.urgent(claim, state) == []
    assert not state.is_owed
    assert state.registered(request)  # Now it is owed.
    assert [reply.id for reply in outgoing.urgent(claim, state)] == [request]  # type: ignore[attr-defined]
    assert not state.is_owed
    presence.end()
