"""A real uvicorn on the test's own database, and children that speak to it frame by frame."""

from __future__ import annotations

import contextlib
import json
import socket
import threading
from collections.abc import Callable, Iterator
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest
import uvicorn
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import ClientConnection, connect

from accounts import projects
from accounts.actors import Actor
from orchestration import presence
from orchestration.models import Attempt, Session
from orchestration.sessions import spawn as session_spawn
from tests.servers.stack import IN_A_THREAD, WEB
from tests.threads import operations_have_ended
from tests.waiting import wait_until

TESTS = Actor.system("tests")
# Well over the poll, because a wake-up may be lost; under the 20 s after which a peer is dropped for its silence.
PATIENCE = 15.0


class Spawn:
    """An external session and the token of its current attempt."""

    def __init__(self, **order: Any) -> None:
        order = {"assignment": "do it", "runner": "external", **order}
        spawned = session_spawn.spawn(projects.default(), session_spawn.SpawnOrder(**order), TESTS)
        assert spawned.child_token is not None
        self.id = spawned.session.pk
        self.token = spawned.child_token

    @property
    def session(self) -> Session:
        return Session.objects.get(pk=self.id)

    def attempt(self, number: int = 1) -> Attempt:
        return Attempt.objects.get(session=self.id, number=number)


class Peer:
    """One socket of a child, controlled by the test."""

    def __init__(self, context: Any) -> None:
        self._context = context
        self.socket: ClientConnection = context.__enter__()

    def say(self, kind: str, **fields: Any) -> None:
        """Send a frame. The server may have closed already; the next read reports that."""
        with contextlib.suppress(ConnectionClosed):
            self.socket.send(json.dumps({"kind": kind, **fields}))

    def hear(self, kind: str, timeout: float = PATIENCE) -> dict[str, Any]:
        """The next frame, which must be of this kind."""
        frame: dict[str, Any] = json.loads(self.socket.recv(timeout=timeout))
        assert frame["kind"] == kind, frame
        return frame

    def hear_until(self, kind: str, timeout: float = PATIENCE) -> dict[str, Any]:
        """The next frame of this kind, whatever comes before it."""
        while True:
            frame: dict[str, Any] = json.loads(self.socket.recv(timeout=timeout))
            if frame["kind"] == kind:
                return frame

    def hear_until_any(self, *kinds: str, timeout: float = PATIENCE) -> dict[str, Any]:
        """The next frame of one of these kinds, whatever comes before it."""
        while True:
            frame: dict[str, Any] = json.loads(self.socket.recv(timeout=timeout))
            if frame["kind"] in kinds:
                return frame

    def silent(self, secs: float = 0.3) -> bool:
        """Nothing comes for a while."""
        try:
            self.socket.recv(timeout=secs)
        except TimeoutError:
            return True
        return False

    def end(self, timeout: float = PATIENCE, *, silently: bool = False) -> tuple[int, str]:
        """The close code and reason; frames that come before are read away, or are a failure when `silently`."""
        try:
            while True:
                frame = self.socket.recv(timeout=timeout)
                assert not silently, frame
        except ConnectionClosed as closed:
            return (closed.rcvd.code, closed.rcvd.reason) if closed.rcvd else (1006, "")

    def is_closed(self) -> bool:
        """Return True if the other side has closed, without waiting."""
        try:
            self.socket.recv(timeout=0)
        except ConnectionClosed:
            return True
        except TimeoutError:
            pass
        return False

    def code(self, timeout: float = PATIENCE) -> int:
        return self.end(timeout)[0]

    def close(self) -> None:
        self.socket.close()

    def drop(self) -> None:
        """Go without a word, like a killed process."""
        self.socket.socket.shutdown(socket.SHUT_RDWR)

    def __enter__(self) -> Peer:
        return self

    def __exit__(self, *exc: object) -> None:
        self._context.__exit__(*exc)


class Server:
    """uvicorn in a thread of the tests' process, configured as `manage.py up` does it."""

    def __init__(self, ping_secs: float = 20) -> None:
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        self._server = uvicorn.Server(
            uvicorn.Config(
                WEB,
                **IN_A_THREAD | {"ws_ping_interval": ping_secs, "ws_ping_timeout": ping_secs},
            )
        )
        self._thread = threading.Thread(target=self._server.run, args=([self._listener],), daemon=True)

    def start(self) -> Server:
        self._thread.start()
        wait_until(lambda: self._server.started)
        return self

    def tasks(self) -> int:
        """Return the number of served connections."""
        return len(self._server.server_state.tasks)

    def connections(self) -> int:
        """Return the number of open sockets, served or not."""
        return len(self._server.server_state.connections)

    def stop(self) -> None:
        self._server.should_exit = True
        self._thread.join(timeout=15)

    def get(self, url: str, child: Spawn, **options: Any) -> Any:
        """Return the REST answer to the child's token at the path of this address."""
        headers = {"Authorization": f"Bearer {child.token}", "Host": "testserver"}
        path = urlsplit(url)._replace(scheme="http", netloc=f"127.0.0.1:{self.port}").geturl()
        answer = httpx.get(path, headers=headers, **options)
        assert answer.status_code == 200, answer.text
        return answer.json()

    def url(self, session: object) -> str:
        return f"ws://127.0.0.1:{self.port}/ws/children/{session}"

    def dial(self, session: object, **options: Any) -> Peer:
        """A socket, whatever comes of it."""
        return Peer(connect(self.url(session), open_timeout=PATIENCE, close_timeout=2, compression=None, **options))

    def knock(self, child: Spawn, token: str | None = None, dialect: str = "wardroom.v1") -> Peer:
        headers = {"Authorization": f"Bearer {token or child.token}"}
        return self.dial(child.id, additional_headers=headers, subprotocols=[dialect])

    def child(self, child: Spawn, *, run: bool = True, **hello: Any) -> Peer:
        """A v1 child that is welcome; `run` says whether its run is to be read away and acknowledged."""
        peer = self.knock(child)
        peer.say("hello", **{"attempt": 1, **hello})
        peer.welcome = peer.hear("welcome")  # type: ignore[attr-defined]
        if run:
            peer.hear("run")
            peer.say("run_ack")
        return peer

    def plain(self, child: Spawn) -> Peer:
        return self.knock(child, dialect="wardroom.plain")


@pytest.fixture(scope="session")
def _uvicorn(broker: object) -> Iterator[Server]:
    server = Server().start()
    yield server
    server.stop()


@pytest.fixture
def server(_uvicorn: Server, transactional_db: None) -> Iterator[Server]:
    """The server, on a database that is emptied after the test: when no connection writes to it any more."""
    yield _uvicorn
    wait_until(lambda: not _uvicorn.tasks(), why="every connection has ended")
    operations_have_ended()
    presence.end()


@pytest.fixture
def spawn(transactional_db: None) -> Callable[..., Spawn]:
    return Spawn


@pytest.fixture
def child(spawn: Callable[..., Spawn]) -> Spawn:
    return spawn()
