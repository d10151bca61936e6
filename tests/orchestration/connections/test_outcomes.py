"""The outcome of a message to a session, each over a real connection, and its effect."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from accounts import projects
from mailbox import session_inbox
from mailbox.envelope import NewMessage
from mailbox.models import Message
from orchestration import presence
from orchestration.connections import messages
from orchestration.connections.fencing import Claim, Principal
from orchestration.models import WebProcess
from orchestration.sessions import cancel, lifecycle, transitions
from orchestration.sessions import messages as session_messages
from tests.orchestration.connections.callers import Caller, asker, caller, pending, reply, standing
from tests.orchestration.connections.conftest import TESTS, Peer, Server, Spawn
from tests.waiting import wait_until

__all__ = ["asker", "caller"]


def send(asker: Caller, child: Spawn, text: str = "go on", **more: Any) -> str:
    answer = asker.send(child.id, **{"message_kind": "task", "body": {"text": text}, **more})
    assert answer.status_code == 202, answer.text
    return str(answer.json()["outcome"])


def unread() -> list[str]:
    return [row.body["text"] for row in Message.objects.in_state("new").order_by("seq")]


def test_delivered_live_while_a_connection_is_held(
    server: Server, child: Spawn, asker: Caller, timings: Callable[..., None]
) -> None:
    timings(connection_poll_secs=60)  # Out of reach: it comes by a wake-up.
    with server.child(child) as peer:
        assert send(asker, child, "now") == "delivered_live"
        assert peer.hear("message")["text"] == "now"
        assert unread() == ["now"], "written is not read"


def test_queued_while_there_is_no_connection_and_written_when_it_is_back(
    server: Server, child: Spawn, asker: Caller
) -> None:
    assert send(asker, child, "before it began") == "queued"
    with server.child(child) as peer:
        assert peer.hear("message")["text"] == "before it began"
        peer.drop()
        wait_until(lambda: child.attempt().connection_lost_at)
    assert send(asker, child, "while it was away") == "queued"
    with server.child(child, run=False) as peer:
        assert [peer.hear("message")["text"] for _ in range(2)] == ["before it began", "while it was away"]


def test_queued_when_the_web_process_that_held_the_connection_is_dead(
    server: Server, child: Spawn, asker: Caller
) -> None:
    with server.child(child):
        mine = WebProcess.objects.filter(pk=presence.current())
        mine.update(heartbeat_at="2020-01-01T00:00:00Z")
        assert send(asker, child) == "queued"


def test_queued_while_it_is_suspended_and_read_when_it_goes_on(server: Server, child: Spawn, asker: Caller) -> None:
    lifecycle.started(child.id, 1)
    transitions.move(child.id, 1, "suspended")
    assert send(asker, child) == "queued"
    assert child.session.status == "suspended"


def test_started_when_it_was_over_and_the_new_attempt_reads_it(
    server: Server, child: Spawn, asker: Caller, fresh: Callable[[Spawn], None]
) -> None:
    with server.child(child) as peer:
        peer.say("terminal", status="completed")
        peer.hear("terminal_ack")
    assert send(asker, child, "once more") == "started"
    assert (child.session.attempt, child.session.status) == (2, "starting")
    assert send(asker, child, "and more") == "queued"
    fresh(child)
    with server.child(child, attempt=2) as peer:
        assert [peer.hear("message")["text"] for _ in range(2)] == ["once more", "and more"]


@pytest.fixture
def fresh(asker: Caller) -> Callable[[Spawn], None]:
    """A token of the session's current attempt."""

    def mint(child: Spawn) -> None:
        child.token = asker.post(f"/sessions/{child.id}/token", {}).json()["token"]

    return mint


def test_pending_when_nothing_will_run_until_somebody_starts_it(server: Server, child: Spawn, asker: Caller) -> None:
    with server.child(child) as peer:
        cancel.cancel(projects.default(), child.id, "enough", TESTS)
        peer.hear("cancel")
        assert send(asker, child) == "pending", "it is being cancelled"
        peer.hear("message")
        peer.say("terminal", status="cancelled")
        peer.hear("terminal_ack")
    answer = {"message_kind": "reply", "body": {"answer": 1, "text": "an answer"}}
    assert send(asker, child, **answer) == "pending", "an answer starts nothing"
    assert (child.session.status, child.session.attempt) == ("cancelled", 1)


# --- interrupt ------------------------------------------------------------------------------------------------------


def interrupted(peer: Peer, asker: Caller, child: Spawn, text: str = "instead") -> None:
    assert send(asker, child, text, interrupt=True) == "queued"
    assert "interrupted" in peer.hear("cancel")["reason"]


def test_an_interrupt_stops_the_attempt_and_the_next_one_reads_the_message(
    server: Server, child: Spawn, asker: Caller, fresh: Callable[[Spawn], None]
) -> None:
    with server.child(child) as peer:
        interrupted(peer, asker, child)
        assert peer.silent(), "what stops it is not for it to read"
        assert (child.session.attempt, unread()) == (1, ["instead"])
        peer.say("terminal", status="cancelled")
        peer.hear_until("terminal_ack")
    assert (child.session.attempt, child.session.status) == (2, "starting")
    assert child.attempt(1).status == "cancelled"
    fresh(child)
    with server.child(child, attempt=2) as peer:
        assert peer.hear("message")["text"] == "instead"
        assert peer.silent(), "and no cancel"


def test_an_interrupted_child_that_comes_back_is_still_told_to_stop_alone(
    server: Server, child: Spawn, asker: Caller
) -> None:
    with server.child(child) as peer:
        interrupted(peer, asker, child)
    with server.child(child, run=False) as peer:
        peer.hear("cancel")
        assert send(asker, child, "later") == "queued"
        assert peer.silent()
    assert unread() == ["instead", "later"]


def test_an_interrupt_that_became_a_cancel_holds_nothing_back(
    server: Server, child: Spawn, asker: Caller, timings: Callable[..., None]
) -> None:
    timings(connection_poll_secs=0.2)
    with server.child(child) as peer:
        interrupted(peer, asker, child)
        cancel.cancel(projects.default(), child.id, "enough", TESTS)
        assert peer.hear("message")["text"] == "instead"


def test_a_question_to_what_is_interrupted_is_for_the_next_attempt(
    server: Server, child: Spawn, asker: Caller, fresh: Callable[[Spawn], None]
) -> None:
    with server.child(child) as peer:
        interrupted(peer, asker, child)
        ask_id = pending(asker, child.id)
        peer.say("terminal", status="cancelled")
        peer.hear_until("terminal_ack")
    fresh(child)
    with server.child(child, attempt=2) as peer:
        peer.hear("message")
        reply(peer, peer.hear("message"), "the second says")
    assert standing(asker.look(child.id, ask_id)) == ("answered", "the second says")


def test_a_message_that_interrupts_is_not_read_before_its_interrupt_is_seen(
    child: Spawn, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is committed between the two looks of the connection that it stops."""
    lifecycle.started(child.id, 1)
    connection = Claim(Principal(projects.default().pk, child.id, 1, child.token), 1)
    look = session_inbox.unadmitted

    def late(*args: Any, **options: Any) -> Any:
        message = NewMessage(message_kind="task", body={"text": "instead"})
        session_messages.send(projects.default(), child.id, message, TESTS, interrupt=True)
        return look(*args, **options)

    monkeypatch.setattr(session_inbox, "unadmitted", late)
    assert messages.waiting(connection, 0) == []
