"""The two faces of REST: the application in this process, and a web server."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from threading import Thread
from typing import Any

import httpx
import uvicorn
from django.test import Client

from accounts import credentials
from accounts.models import Project
from tests import before_django
from tests.people import owner
from tests.servers import free_port
from tests.servers.stack import IN_A_THREAD, WEB
from tests.threads import operations_have_ended
from tests.waiting import wait_until


class Django:
    """Django's views, and the routes before them, called in this process and in this test's transaction.

    A delivery alone needs a server: it has a commit of its own, so it is part of no other transaction.
    """

    def call(self, method: str, path: str, raw: bytes, headers: Mapping[str, str], query: Mapping[str, str]) -> Any:
        if before_django.answers(path):
            return before_django.call(method, path, raw, headers, query)
        kind = headers.get("Content-Type", "")
        rest = {name: value for name, value in headers.items() if name != "Content-Type"}
        return Client(headers=rest).generic(method, path, raw, content_type=kind, query_params=dict(query))


class Server:
    """The application as a web process serves it, over HTTP."""

    def __init__(self, port: int) -> None:
        self.port = port
        self.client = httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=30, headers={"Host": "testserver"})

    def call(self, method: str, path: str, raw: bytes, headers: Mapping[str, str], query: Mapping[str, str]) -> Any:
        return self.client.request(method, path, content=raw, headers=dict(headers), params=query or None)


@contextmanager
def serving() -> Iterator[Server]:
    """Run a server in a thread of this process, so that changes of a test apply to it."""
    port = free_port()
    server = uvicorn.Server(uvicorn.Config(WEB, **IN_A_THREAD | {"port": port}))
    thread = Thread(target=server.run)
    thread.start()
    wait_until(lambda: server.started, 30)
    face = Server(port)
    try:
        yield face
    finally:
        face.client.close()
        server.should_exit = True
        thread.join(20)
        operations_have_ended()


class Caller:
    """Somebody with a token, at one of the faces."""

    def __init__(self, face: Django | Server, project: Any, **mint: Any) -> None:
        mint = {"kind": "api", "user": owner()} | mint
        self.face = face
        self.credential, self.token = credentials.mint(project=Project.objects.get(pk=project), **mint)

    def call(self, method: str, path: str, raw: bytes = b"", query: Any = None, **headers: str) -> Any:
        """Headers as keywords, with underscores; one that is empty is left out."""
        said = {"Authorization": f"Bearer {self.token}", "Content-Type": "application/json"}
        said |= {name.replace("_", "-"): value for name, value in headers.items()}
        return self.face.call(method, path, raw, {name: value for name, value in said.items() if value}, query or {})

    def get(self, path: str, **query: Any) -> Any:
        return self.call("GET", path, query=query)

    def post(self, path: str, body: Any = None, raw: bytes | None = None, **headers: str) -> Any:
        return self.call("POST", path, json.dumps(body).encode() if raw is None else raw, **headers)
