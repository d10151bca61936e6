"""A caller that asks by REST on the real server, and a child that answers over its connection."""

from __future__ import annotations

import json
import uuid
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import httpx
import pytest

from accounts import credentials, projects
from accounts.models import CredentialKind, Project
from tests import people
from tests.orchestration.connections.conftest import PATIENCE, Peer, Server

Asker = Callable[..., Any]


class Caller:
    """Somebody with a token, on the real server."""

    def __init__(self, port: int, token: str) -> None:
        self._http = httpx.Client(
            base_url=f"http://127.0.0.1:{port}/api/v1",
            headers={"Authorization": f"Bearer {token}", "Host": "testserver"},
            timeout=40,
        )
        self._threads = ThreadPoolExecutor(4)

    def ask(
        self, session: object, question: Any = "how far?", headers: dict[str, str] | None = None, **more: Any
    ) -> Any:
        body = {"question": question, "timeout_secs": 10, **more}
        return self._http.post(f"/sessions/{session}/ask", json=body, headers=headers)

    def asks(self, session: object, question: str = "how far?", **more: Any) -> Future[Any]:
        """The call, held in a thread."""
        return self._threads.submit(self.ask, session, question, **more)

    def look(self, session: object, ask_id: str, **query: Any) -> Any:
        return self._http.get(f"/sessions/{session}/asks/{ask_id}", params=query)

    def looks(self, session: object, ask_id: str, **query: Any) -> Future[Any]:
        return self._threads.submit(self.look, session, ask_id, **query)

    def send(self, session: object, **message: Any) -> Any:
        return self._http.post(f"/sessions/{session}/messages", json=message)

    def raw(self, session: object, body: bytes) -> Any:
        return self._http.post(f"/sessions/{session}/ask", content=body)

    def get(self, path: str) -> Any:
        return self._http.get(path)

    def post(self, path: str, body: Any) -> Any:
        return self._http.post(path, json=body)

    def close(self) -> None:
        self._threads.shutdown()
        self._http.close()


@pytest.fixture
def caller(server: Server) -> Iterator[Asker]:
    """A caller by token, or by a key with these scopes."""
    made: list[Caller] = []

    def make(*scopes: str, token: str = "", project: Project | None = None) -> Caller:
        if not token:
            scopes = scopes or ("sessions:read", "sessions:write")
            _, token = credentials.mint(
                kind=CredentialKind.API,
                project=project or projects.default(),
                scopes=scopes,
                name="asker",
                user=people.owner(),
            )
        made.append(Caller(server.port, token))
        return made[-1]

    yield make
    for each in made:
        each.close()


@pytest.fixture
def asker(caller: Asker) -> Caller:
    return caller()


def reply(peer: Peer, message: dict[str, Any], answer: Any, **more: Any) -> dict[str, Any]:
    """Answer it; the acknowledgement, or the refusal."""
    frame = {"id": str(uuid.uuid4()), "message_kind": "reply", "body": {"answer": answer}}
    peer.say("send", **{**frame, "correlation_id": message["correlation_id"], **more})
    while (found := json.loads(peer.socket.recv(timeout=PATIENCE)))["kind"] == "message":
        pass
    return dict(found)


def pending(asker: Caller, session: object, question: str = "how far?", **more: Any) -> str:
    answer = asker.ask(session, question, **{"timeout_secs": 0, **more})
    assert (answer.status_code, answer.json()["status"]) == (200, "pending"), answer.text
    return str(answer.json()["ask_id"])


def standing(answer: Any) -> tuple[str, Any]:
    assert answer.status_code == 200, answer.text
    return answer.json()["status"], answer.json().get("answer")


def refusal(answer: Any) -> tuple[int, str]:
    assert answer.headers["content-type"] == "application/problem+json", answer.text
    return answer.status_code, answer.json()["type"]
