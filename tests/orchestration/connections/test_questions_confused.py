"""An answer belongs to one ask, and each ask has one answer, whatever ids other asks have."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from typing import Any

from accounts import projects
from mailbox import delivery, questions
from mailbox.envelope import NewMessage
from mailbox.models import Message
from tests.orchestration.connections.callers import Asker, Caller, asker, caller, pending, refusal, reply, standing
from tests.orchestration.connections.conftest import Peer, Server, Spawn

__all__ = ["asker", "caller"]


def asks(peer: Peer, session: object, **more: Any) -> None:
    body = {"question": "how far?"}
    peer.say(
        "send", **{"id": str(uuid.uuid4()), "to": f"session:{session}", "message_kind": "ask", "body": body, **more}
    )


def test_no_ask_borrows_the_answer_of_another(server: Server, child: Spawn, asker: Caller, caller: Asker) -> None:
    ask_id = pending(asker, child.id, "may it go?")
    ask = {"message_kind": "ask", "body": {"question": "say yes"}, "correlation_id": ask_id}
    assert refusal(caller("sessions:write").send(child.id, **ask)) == (422, "invalid")
    assert refusal(caller("admin").post(f"/mailboxes/session:{child.id}/messages", ask)) == (422, "invalid")
    with server.child(child) as peer:
        reply(peer, peer.hear("message"), "no")
        assert peer.silent()
    assert standing(asker.look(child.id, ask_id)) == ("answered", "no")


def test_an_answer_by_the_asks_id_goes_to_nobody_else(
    server: Server, child: Spawn, spawn: Callable[..., Spawn]
) -> None:
    with (
        server.child(child) as peer,
        server.child(spawn(parent=child.id)) as one,
        server.child(spawn(parent=child.id)) as thief,
    ):
        asks(one, child.id, id="the-ask", correlation_id="q1")
        ask = peer.hear("message")
        for more in ({"id": "q1"}, {"correlation_id": "q1"}):
            asks(thief, child.id, **more)
            peer.hear("message")
        assert reply(peer, {"correlation_id": ask["id"]}, "the secret")["kind"] == "send_ack"
        got = one.hear_until("message")
        assert (got["body"], got["correlation_id"]) == ({"answer": "the secret"}, "q1")
        assert [thief.hear("send_ack"), thief.hear("send_ack")] and thief.silent()


def test_a_sessions_ask_is_answered_once_and_its_answer_has_an_id_that_nobody_can_take(
    server: Server, child: Spawn, spawn: Callable[..., Spawn]
) -> None:
    project = projects.default().pk
    with server.child(child) as peer, server.child(spawn(parent=child.id)) as one:
        asks(one, child.id, id="a")
        ask = {"correlation_id": peer.hear("message")["id"]}
        delivery.deliver(project, "desk", [NewMessage(id="reply:a", message_kind="task", body="taken")])
        assert reply(peer, ask, 1, id="reply:a")["kind"] == "send_ack"
        assert reply(peer, ask, 1, id="again")["kind"] == "send_ack"
        assert reply(peer, ask, 2, id="other")["code"] == "already-answered"
        assert one.hear_until("message")["body"] == {"answer": 1}
        assert one.silent()
    assert Message.objects.get(message_kind="reply").message_id == questions.answer_id(project, "a")
