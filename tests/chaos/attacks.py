"""Attacks of one caller, each the worst of its kind that the limits let through: `python -m tests.chaos.attacks NAME`.

The form is read as JSON from standard input. Each attack is bounded in time and count, and talks to loopback only. It
prepares its data, prints `ready`, attacks, and prints one JSON object: how often it got which answer.
"""

from __future__ import annotations

import asyncio
import collections
import contextlib
import json
import ssl
import sys
import time
from collections.abc import Awaitable, Callable, Iterable
from typing import Any
from urllib.parse import urlsplit

import httpx
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.typing import Subprotocol

from tests.waiting import stay

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


async def together(calls: Iterable[Awaitable[Any]]) -> None:
    await asyncio.gather(*calls, return_exceptions=True)


async def until_over(act: Callable[[], Awaitable[Any]], secs: float = SECS) -> None:
    end = time.monotonic() + secs
    while time.monotonic() < end:
        await act()


# --- without a token ----------------------------------------------------------------------------------------


async def anonymous_bodies(target: Target) -> None:
    """Bodies of 200 MB without a token, by length and in chunks, to a route, the login and an unknown path."""
    ready()

    async def endless() -> Any:
        for _ in range(200):
            yield b"x" * MIB

    async with target.client("") as client:
        paths = ("/api/v1/sessions", "/admin/login/", "/nix")
        await together(target.call(client, "POST", path, content=endless()) for path in paths for _ in range(4))


async def idle_sockets(target: Target) -> None:
    """Connections that send nothing, half a head, or a head without its body."""
    ready()
    place = urlsplit(target.urls[0])
    half = b"GET /api/v1/sessions HTTP/1.1\r\nHost: x\r\n"
    unsent = b"POST /api/v1/sessions HTTP/1.1\r\nHost: localhost\r\nContent-Length: 10\r\n\r\n"
    writers = []
    for number in range(300):
        try:
            _, writer = await asyncio.open_connection(place.hostname, place.port)
        except OSError as trouble:
            target.seen[type(trouble).__name__] += 1
            continue
        writer.write((b"", half, unsent)[number % 3])
        writers.append(writer)
    await stay(SECS)
    for writer in writers:
        writer.close()


async def anonymous_documents(target: Target) -> None:
    """The largest page that needs no token, thirty at a time."""
    ready()
    async with target.client("") as client:
        await until_over(lambda: together(target.call(client, "GET", "/api/v1/schema") for _ in range(30)))


# --- with one child's token ---------------------------------------------------------------------------------


async def event_floods(target: Target) -> None:
    """Three children that send batches of 64 events as fast as they are taken."""
    sessions = [await target.external() for _ in range(3)]
    ready()
    await together(flood(target, session) for session in sessions)


async def flood(target: Target, session: dict[str, Any]) -> None:
    seq, end = 1, time.monotonic() + SECS
    async with target.child(session) as socket:
        reading = asyncio.create_task(drain(socket))
        with contextlib.suppress(ConnectionClosed):
            while time.monotonic() < end:
                events = [{"type": "chatter", "text": "x" * 100} for _ in range(64)]
                frame = {"kind": "event_batch", "first_seq": seq, "last_seq": seq + 63, "qos": "durable"}
                await socket.send(json.dumps(frame | {"events": events}))
                seq += 64
        target.seen[f"close {socket.close_code}"] += 1
        reading.cancel()


async def drain(socket: ClientConnection) -> None:
    with contextlib.suppress(ConnectionClosed):
        async for _ in socket:
            pass


async def event_pages(target: Target) -> None:
    """A hundred events of nearly 1 MB, then six parallel pages of them, over and over."""
    session = await target.external()
    async with target.child(session) as socket:
        reading = asyncio.create_task(drain(socket))
        with contextlib.suppress(ConnectionClosed):
            for seq in range(1, 101):
                event = {"type": "large", "text": "x" * (MIB - 1000)}
                await socket.send(json.dumps({"kind": "event", "seq": seq, "event": event}))
        reading.cancel()
    ready()
    path = f"/api/v1/sessions/{session['id']}/events?limit=200"
    async with target.client(session["token"]) as client:
        await until_over(lambda: together(target.call(client, "GET", path) for _ in range(6)))


async def frames_of_nothing(target: Target) -> None:
    """Sixteen sockets with three frames of 1 MiB that decode to half a million lists each."""
    sessions = [await target.external() for _ in range(16)]
    frame = "[" + ",".join(["[]"] * (MIB // 3 - 10)) + "]"
    ready()

    async def send(session: dict[str, Any]) -> None:
        async with target.child(session) as socket:
            with contextlib.suppress(ConnectionClosed):
                for _ in range(3):
                    await socket.send(frame)
                await drain(socket)
            target.seen[f"close {socket.close_code}"] += 1

    await together(send(session) for session in sessions)


async def streams(target: Target) -> None:
    """Three hundred event streams of one child on its own events, while it sends 1,280 of them."""
    session = await target.external()
    ready()
    path = f"/api/v1/sessions/{session['id']}/events"
    headers = {"Accept": "text/event-stream"}

    async def follow(client: httpx.AsyncClient) -> None:
        with contextlib.suppress(httpx.HTTPError, TimeoutError):
            async with asyncio.timeout(SECS), client.stream("GET", path, headers=headers) as answer:
                target.seen[str(answer.status_code)] += 1
                async for _ in answer.aiter_bytes():
                    pass

    async with target.client(session["token"]) as client:
        await together([*(follow(client) for _ in range(300)), *(some_events(target, session) for _ in range(1))])


async def some_events(target: Target, session: dict[str, Any]) -> None:
    async with target.child(session) as socket:
        reading = asyncio.create_task(drain(socket))
        with contextlib.suppress(ConnectionClosed):
            for first in range(1, 1281, 64):
                frame = {"kind": "event_batch", "first_seq": first, "last_seq": first + 63, "qos": "durable"}
                await socket.send(json.dumps(frame | {"events": [{"type": "chatter"}] * 64}))
        await stay(SECS / 2)
        reading.cancel()


async def long_history(target: Target) -> None:
    """A hundred messages of 250 KB that were admitted, then pages of the history in parallel."""
    session = await target.external()
    body = {"message_kind": "task", "body": {"text": "x" * 250_000}}
    async with target.client() as client, target.child(session) as socket:
        path = f"/api/v1/sessions/{session['id']}/messages"
        admitting = asyncio.create_task(admit(socket, 100))
        for _ in range(100):
            (await client.post(path, json=body)).raise_for_status()
        async with asyncio.timeout(60):
            await admitting
    ready()
    async with target.client(session["token"]) as client:
        path = f"/api/v1/sessions/{session['id']}/history?limit=200"
        await until_over(lambda: together(target.call(client, "GET", path) for _ in range(6)))


async def admit(socket: ClientConnection, count: int) -> None:
    async for text in socket:
        frame = json.loads(text)
        if frame["kind"] == "message":
            await socket.send(json.dumps({"kind": "message_admitted", "ids": [frame["id"]]}))
            count -= 1
        if not count:
            return


# --- with one key -------------------------------------------------------------------------------------------


async def many_calls(target: Target) -> None:
    """Five hundred calls of one key at the same time."""
    ready()
    async with target.client() as client:
        await until_over(lambda: together(target.call(client, "GET", "/api/v1/sessions?limit=50") for _ in range(500)))


async def bodies_of_nothing(target: Target) -> None:
    """Bodies of nearly 2 MiB that decode to a million lists, thirty at a time."""
    body = b'{"metadata": {"a": [' + b",".join([b"[]"] * (600_000)) + b"]}}"
    ready()
    headers = {"Content-Type": "application/json"}
    async with target.client() as client:
        calls = ("/api/v1/sessions", "/api/v1/approvals", "/api/v1/mailboxes/x/messages")
        await until_over(
            lambda: together(
                target.call(client, "POST", path, content=body, headers=headers) for path in calls for _ in range(10)
            )
        )


async def large_drains(target: Target) -> None:
    """Two hundred messages of 250 KB, then parallel drains of all of them, over and over."""
    async with target.client() as client:
        body = {"message_kind": "task", "body": {"text": "x" * 250_000}}
        for _ in range(200):
            (await client.post("/api/v1/mailboxes/large/messages", json=body)).raise_for_status()
        ready()
        drain_all = {"limit": 200, "lease_secs": 1}
        await until_over(
            lambda: together(
                target.call(client, "POST", "/api/v1/mailboxes/large/drain", json=drain_all) for _ in range(6)
            )
        )


async def odd_values(target: Target) -> None:
    """Numbers, cursors and metadata that no list, column or clock can hold."""
    ready()
    digits, deep = "9" * 5000, "W" * 40_000
    paths = (
        f"sessions?limit={digits}",
        f"sessions?cursor={deep}",
        f"feed?cursor={digits}",
        f"approvals?session={digits}",
        "sessions?status=%00",
    )
    orders = (
        {"child_watchdog.max_total_secs": 10**14},
        {"child_watchdog.max_idle_secs": "9" * 400},
        {"n": 2**64},
    )
    async with target.client() as client:

        async def once() -> None:
            await together(target.call(client, "GET", f"/api/v1/{path}") for path in paths)
            spawns = ({"runner": "external", "assignment": "x", "metadata": metadata} for metadata in orders)
            await together(target.call(client, "POST", "/api/v1/sessions", json=order) for order in spawns)

        await until_over(once)


async def large_tree(target: Target) -> None:
    """The cancel of a tree of 400 sessions, in the middle of everything."""
    async with target.client() as client:
        top = await target.external()
        async with target.child(top):
            for _ in range(40):
                order = {"runner": "external", "assignment": "x", "parent": top["id"]}
                await client.post("/api/v1/sessions", json=order)
        ready()
        await target.call(client, "POST", f"/api/v1/sessions/{top['id']}/cancel", json={"reason": "enough"})
        await stay(SECS / 2)


ATTACKS: dict[str, Callable[[Target], Awaitable[None]]] = {
    attack.__name__: attack
    for attack in (
        anonymous_bodies,
        idle_sockets,
        anonymous_documents,
        event_floods,
        event_pages,
        frames_of_nothing,
        streams,
        long_history,
        many_calls,
        bodies_of_nothing,
        large_drains,
        odd_values,
        large_tree,
    )
}

if __name__ == "__main__":
    victim = Target(json.load(sys.stdin))
    with contextlib.suppress(InvalidStatus, ssl.SSLError):
        asyncio.run(ATTACKS[sys.argv[1]](victim))
    print(json.dumps(victim.seen))
