"""A form of Wardroom as an attacker sees it."""

from __future__ import annotations

import asyncio
import collections
import contextlib
import json
from collections.abc import Awaitable, Callable, Iterable
from typing import Any

import httpx
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed
from websockets.typing import Subprotocol

from tests.waiting import during, stay

MIB = 1024 * 1024
SECS = 8.0
Seen = collections.Counter[str]


class Target:
    """A form as an attacker sees it."""

    def __init__(self, told: dict[str, Any]) -> None:
        self.urls: list[str] = told["urls"]
        self.key: str = told["key"]
        self.seen: Seen = collections.Counter()

    def client(self, token: str | None = None, **options: Any) -> httpx.AsyncClient:
        headers = {} if token == "" else {"Authorization": f"Bearer {token or self.key}"}
        limits = httpx.Limits(max_connections=600)
        return httpx.AsyncClient(base_url=self.urls[0], headers=headers, timeout=60, limits=limits, **options)

    async def call(self, client: httpx.AsyncClient, method: str, path: str, **options: Any) -> httpx.Response | None:
        try:
            answer = await client.request(method, path, **options)
        except httpx.HTTPError as trouble:
            self.seen[type(trouble).__name__] += 1
            return None
        self.seen[str(answer.status_code)] += 1
        return answer

    async def external(self) -> dict[str, Any]:
        async with self.client() as client:
            order = {"runner": "external", "assignment": "x"}
            told = (await client.post("/api/v1/sessions", json=order)).raise_for_status().json()
        return {"id": told["id"], "token": told["child"]["token"], "url": told["child"]["websocket_url"]}

    @contextlib.asynccontextmanager
    async def child(self, session: dict[str, Any]) -> Any:
        """The child's connection, with its run acknowledged."""
        async with connect(
            session["url"],
            additional_headers={"Authorization": f"Bearer {session['token']}"},
            subprotocols=[Subprotocol("wardroom.v1")],
            compression=None,
            max_size=None,
            proxy=None,
        ) as socket:
            await socket.send(json.dumps({"kind": "hello", "attempt": 1}))
            await socket.send(json.dumps({"kind": "run_ack"}))
            yield socket


def ready() -> None:
    print("ready", flush=True)


async def run_all(calls: Iterable[Awaitable[Any]], every: float = 0) -> None:
    """Make all calls at once, or begin one in so many seconds: of one address few sockets may be without a request."""
    begun = []
    for call in calls:
        begun.append(asyncio.ensure_future(call))
        if every:
            await stay(every)
    await asyncio.gather(*begun, return_exceptions=True)


async def until_over(act: Callable[[], Awaitable[Any]], secs: float = SECS) -> None:
    for _ in during(secs):
        await act()


async def drain(socket: ClientConnection) -> None:
    with contextlib.suppress(ConnectionClosed):
        async for _ in socket:
            pass
