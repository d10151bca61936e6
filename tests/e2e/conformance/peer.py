"""A child that follows a script frame by frame, in either dialect."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

from websockets.exceptions import ConnectionClosed
from websockets.sync.client import ClientConnection, connect
from websockets.typing import Subprotocol

from tests.e2e.conformance.conftest import Session
from tests.waiting import PATIENCE


def announce(socket: ClientConnection, length: int) -> None:
    """Begin a text frame of this many bytes, and send none of them.

    A server that refuses the length closes while the rest is still under way; bytes that it has not read make its
    kernel reset the connection, and the close code can be lost with it (RFC 6455, 7.1.1). Nothing is under way here.
    """
    socket.socket.sendall(b"\x81\xff" + length.to_bytes(8, "big") + bytes(4))


class Peer:
    def __init__(self, socket: ClientConnection) -> None:
        self.socket = socket

    def say(self, kind: str, **fields: Any) -> None:
        """Send a frame. The server may have closed already; the next read reports that."""
        with suppress(ConnectionClosed):
            self.socket.send(json.dumps({"kind": kind, **fields}))

    def hear(self, *kinds: str, timeout: float = PATIENCE) -> dict[str, Any]:
        """The next frame, which must be of one of these kinds."""
        frame: dict[str, Any] = json.loads(self.socket.recv(timeout=timeout))
        assert frame["kind"] in kinds, frame
        return frame

    def hears_nothing(self, secs: float = 0.5) -> bool:
        try:
            frame = self.socket.recv(timeout=secs)
        except TimeoutError:
            return True
        raise AssertionError(frame)

    def closed(self, timeout: float = PATIENCE) -> int:
        """The code that the server closed with; frames before it are left out."""
        try:
            while True:
                self.socket.recv(timeout=timeout)
        except ConnectionClosed:
            return self.socket.close_code or 0

    def begin(self, attempt: int = 1, **fields: Any) -> dict[str, Any]:
        """hello, welcome, run, run_ack: the run."""
        self.say("hello", attempt=attempt, **fields)
        self.hear("welcome")
        run = self.hear("run")
        self.say("run_ack")
        return run

    def ask(self, id: str = "ask-1", **body: Any) -> dict[str, Any]:
        action = {"tool_name": "shell", "permission": "shell", "resource": "/srv", "arguments": {"command": "ls"}}
        self.say("approval_request", id=id, body={**action, **body})
        return self.hear("approval_registered", "error")

    def finish(self, status: str = "completed", **fields: Any) -> None:
        self.say("terminal", status=status, **fields)
        # The end withdraws what was still asked, and the word of that may be quicker than the acknowledgement.
        while (told := self.hear("terminal_ack", "approval_reply"))["kind"] == "approval_reply":
            assert told["decision"] == "cancelled", told
        assert told["status"] == status
        assert self.closed() == 1000


@contextmanager
def connect_child(
    session: Session,
    protocols: tuple[str, ...] = ("wardroom.v1",),
    *,
    token: str | None = "",
    url: str = "",
    **options: Any,
) -> Iterator[Peer]:
    """A connection with the session's own token in the header; `token=None` for none at all."""
    word = session.token if token == "" else token
    headers = {} if word is None else {"Authorization": f"Bearer {word}"}
    with connect(
        url or session.url,
        subprotocols=[Subprotocol(name) for name in protocols] or None,
        additional_headers=headers,
        proxy=None,
        compression=None,
        max_size=None,
        **options,
    ) as socket:
        yield Peer(socket)
