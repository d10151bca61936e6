"""A child's token has the same rights over its connection and by REST."""

from __future__ import annotations

import uuid
from typing import Any

import httpx
import pytest

from accounts import projects
from orchestration.sessions import cancel, lifecycle
from tests.orchestration.connections.conftest import TESTS, Server, Spawn

BODY = {"text": "hi", "answer": "hi"}


def over_the_connection(server: Server, child: Spawn, to: Spawn, kind: str) -> str:
    with server.child(child, run=False) as peer:
        peer.say("send", id=str(uuid.uuid4()), to=str(to.id), message_kind=kind, body=BODY)
        frame = peer.hear_until_any("send_ack", "error")
    return str(frame.get("outcome", "refused"))


def by_rest(server: Server, child: Spawn, to: Spawn, kind: str) -> str:
    answer = httpx.post(
        f"http://127.0.0.1:{server.port}/api/v1/sessions/{to.id}/messages",
        headers={"Authorization": f"Bearer {child.token}", "Host": "testserver"},
        json={"message_kind": kind, "body": BODY},
        timeout=30,
    )
    assert answer.status_code in (202, 404), answer.text
    return str(answer.json().get("outcome", "refused"))


class Family:
    """A root, two children of it, a child of the first, and a stranger of another tree."""

    def __init__(self) -> None:
        self.root = Spawn()
        lifecycle.started(self.root.id, 1)
        self.me, self.sibling = Spawn(parent=self.root.id), Spawn(parent=self.root.id)
        lifecycle.started(self.me.id, 1)
        self.below, self.stranger = Spawn(parent=self.me.id), Spawn()


@pytest.mark.parametrize("face", [over_the_connection, by_rest])
@pytest.mark.parametrize(
    ("whom", "kind", "while_open", "when_over"),
    [
        ("root", "task", "queued", "pending"),
        ("sibling", "task", "queued", "pending"),
        ("sibling", "handoff", "queued", "pending"),
        ("below", "task", "queued", "started"),
        ("below", "reply", "queued", "pending"),
        ("stranger", "task", "refused", "refused"),
    ],
)
def test_a_child_writes_to_its_tree_and_starts_only_what_is_below_it(
    server: Server, transactional_db: None, face: Any, whom: str, kind: str, while_open: str, when_over: str
) -> None:
    family = Family()
    target: Spawn = getattr(family, whom)
    assert face(server, family.me, target, kind) == while_open
    cancel.cancel(projects.default(), target.id, "enough", TESTS, cascade=False)
    if not target.session.is_terminal:
        lifecycle.finish(target.id, 1, "cancelled")
    assert face(server, family.me, target, kind) == when_over
    assert target.session.attempt == (2 if when_over == "started" else 1)
