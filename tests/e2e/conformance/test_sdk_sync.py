"""The SDK's plain synchronous face against a real server."""

from __future__ import annotations

import signal
import threading
from typing import Any

import pytest

from tests.e2e.conformance.conftest import Spawn
from tests.e2e.conformance.test_sdk import ASK
from tests.waiting import breathe
from wardroom import sync
from wardroom.child import Decision

pytestmark = [pytest.mark.stack, pytest.mark.surface, pytest.mark.timeout(300)]


def test_the_plain_face_does_the_same(spawn: Spawn) -> None:
    session = spawn("plainly")
    with sync.Child(session.identity) as child:
        assert child.run.assignment == "plainly"
        answering = threading.Thread(target=session.decide, args=("approve",))
        answering.start()
        decision: Decision = child.approve("shell", {"command": "ls"}, **ASK, timeout=20)
        answering.join()
        assert child.consume(decision) == {"command": "ls"}
        child.emit("x", n=1)
        child.transcript({"role": "user", "content": "a"})
        assert child.checkpoint() == []
        child.complete("done")
    assert (session.now()["status"], session.now()["result"]) == ("completed", "done")


@pytest.mark.parametrize("heard", [signal.default_int_handler, signal.SIG_IGN])
def test_the_plain_face_is_interrupted_when_it_goes_on_after_the_grace(spawn: Spawn, heard: Any) -> None:
    session = spawn()
    before = signal.signal(signal.SIGINT, heard)
    try:
        _go_on_after_the_grace(session)
    finally:
        signal.signal(signal.SIGINT, before)
    assert session.now()["status"] == "cancelled"


def _go_on_after_the_grace(session: Any) -> None:
    with pytest.raises(KeyboardInterrupt), sync.Child(session.identity) as child:
        session.client.cancel(session.id, "enough")
        assert not child.cancelled.is_set() or child.cancelled.grace_secs == 3
        while True:
            breathe(0.05)


def test_the_plain_face_tells_of_an_exception(spawn: Spawn) -> None:
    session = spawn()
    with pytest.raises(KeyError), sync.Child(session.identity):
        raise KeyError("gone")
    assert session.now()["error"] == "KeyError: 'gone'"
