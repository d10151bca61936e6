"""Attacks with the token of a child, over its connection and by REST."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import Callable
from typing import Any

import httpx
from websockets.asyncio.client import ClientConnection
from websockets.exceptions import ConnectionClosed

from tests.chaos.target import MIB, SECS, Target, drain, ready, run_all, until_over
from tests.waiting import during, stay

Make = Callable[[int], dict[str, Any]]
#: Just under the bound of 2,000 frames in 10 s.
FRAMES_PER_SEC = 190
LARGE_EVENTS, UNACKED = 100, 4


# --- frames -------------------------------------------------------------------------------------------------


async def event_floods(target: Target) -> None:
    """Three children that send batches of 64 events as fast as they may."""
    await floods(target, batch)


async def run_ack_floods(target: Target) -> None:
    """The same with the smallest frame that is written down."""
    await floods(target, lambda number: {"kind": "run_ack"})


async def transcript_floods(target: Target) -> None:
    """The same with parts of a transcript."""
    items = [{"role": "assistant", "content": "x" * 100}] * 64
    await floods(target, lambda number: {"kind": "transcript", "first": number * 64, "items": items})


async def large_frame_floods(target: Target) -> None:
    """Eight children that send events of 900 KB as fast as they are read."""
    text = "x" * 900_000
    await floods(target, lambda number: event(number + 1, {"type": "large", "text": text}), children=8)


async def token_floods(target: Target) -> None:
    """Three children that send tokens, which are shown and not kept, in batches of 64."""
    await floods(target, lambda number: batch(number, "token", "ephemeral"))


def batch(number: int, type: str = "chatter", qos: str = "durable") -> dict[str, Any]:
    first = number * 64 + 1
    events = [{"type": type, "text": "x" * 100}] * 64
    return {"kind": "event_batch", "first_seq": first, "last_seq": first + 63, "qos": qos, "events": events}


def event(seq: int, value: dict[str, Any]) -> dict[str, Any]:
    return {"kind": "event", "seq": seq, "event": value}


async def floods(target: Target, make: Make, *, children: int = 3) -> None:
    sessions = [await target.external() for _ in range(children)]
    ready()
    await run_all(flood(target, session, make) for session in sessions)


async def flood(target: Target, session: dict[str, Any], make: Make, secs: float = SECS) -> None:
    """Send frames as fast as the server reads them, and no faster than it lets a child."""
    sent = 0
    async with target.child(session) as socket:
        reading = asyncio.create_task(drain(socket))
        with contextlib.suppress(ConnectionClosed):
            for now in during(secs):
                if sent > now * FRAMES_PER_SEC:
                    await stay(0.005)
                    continue
                await socket.send(json.dumps(make(sent)))
                sent += 1
        target.seen[f"close {socket.close_code}"] += 1
        target.seen["frames"] += sent
        reading.cancel()


async def frames_of_nothing(target: Target) -> None:
    """Sixteen sockets with two frames of 1 MiB of 49,000 lists, and one of half a million, which is refused."""
    sessions = [await target.external() for _ in range(16)]
    refused = "[" + "[]," * (MIB // 3 - 100) + "1]"
    ready()

    async def send(session: dict[str, Any]) -> None:
        async with target.child(session) as socket:
            with contextlib.suppress(ConnectionClosed):
                for seq, value in enumerate((many_values(49_000), many_values(49_000), refused), 1):
                    await socket.send(f'{{"kind":"event","seq":{seq},"event":{{"type":"large","n":{value}}}}}')
                await drain(socket)
            target.seen[f"close {socket.close_code}"] += 1

    await until_over(lambda: run_all(send(session) for session in sessions))


def many_values(count: int) -> str:
    """Nearly 1 MiB of JSON: so many empty lists, and a text."""
    return "[" + "[]," * count + '"' + "x" * (1_000_000 - 3 * count) + '"]'


# --- what was kept, read again ------------------------------------------------------------------------------


async def event_pages(target: Target) -> None:
    """A hundred events of nearly 1 MB and many values, then six readers that walk through them, over and over."""
    session = await target.external()
    ready()
    value, acked = many_values(30_000), 0
    async with target.child(session) as socket:
        for seq in range(1, LARGE_EVENTS + 1):
            await socket.send(f'{{"kind":"event","seq":{seq},"event":{{"type":"large","n":{value}}}}}')
            # What is behind so many large frames, a pong too, is read late.
            while acked <= seq - UNACKED or acked < seq == LARGE_EVENTS:
                acked = json.loads(await socket.recv()).get("seq", acked)
    path = f"/api/v1/sessions/{session['id']}/events?limit=500"
    async with target.client(session["token"]) as client:
        await run_all(walk(target, client, path) for _ in range(6))


async def walk(target: Target, client: httpx.AsyncClient, path: str) -> None:
    found = 0
    after: int | None = 0
    for _ in during(SECS):
        if after is None:
            break
        answer = await target.call(client, "GET", f"{path}&after={after}")
        if answer is None or answer.status_code != 200:
            continue
        if len(answer.content) > 2 * MIB:
            target.seen["pages over 2 MiB"] += 1
        page = answer.json()
        after, found = page["next"], found + len(page["results"])
    if after is None and found < LARGE_EVENTS:
        target.seen["events lost"] += 1


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
        path = f"/api/v1/sessions/{session['id']}/history"
        await until_over(lambda: run_all(target.call(client, "GET", path) for _ in range(6)))


async def admit(socket: ClientConnection, count: int) -> None:
    async for text in socket:
        frame = json.loads(text)
        if frame["kind"] == "message":
            await socket.send(json.dumps({"kind": "message_admitted", "ids": [frame["id"]]}))
            count -= 1
        if not count:
            return


# --- streams ------------------------------------------------------------------------------------------------


async def streams(target: Target) -> None:
    """Three hundred event streams of one child on its own events, while it floods them."""
    session = await target.external()
    ready()
    async with target.client(session["token"]) as client:
        following = (follow(target, client, session) for _ in range(300))
        await run_all([flood(target, session, batch), *following], every=0.005)


async def unread_streams(target: Target) -> None:
    """Eight children with all the streams that each may have, half of them never read, and events of 100 KB in each."""
    sessions = [await target.external() for _ in range(8)]
    ready()

    def large(number: int) -> dict[str, Any]:
        return event(number + 1, {"type": "large", "text": "x" * 100_000})

    async with contextlib.AsyncExitStack() as stack:
        clients = [await stack.enter_async_context(target.client(session["token"])) for session in sessions]
        pairs = list(zip(clients, sessions, strict=True))
        following = (follow(target, *pair, reads=bool(place % 2)) for pair in pairs for place in range(16))
        await run_all([*(flood(target, session, large) for session in sessions), *following], every=0.01)


async def follow(target: Target, client: httpx.AsyncClient, session: dict[str, Any], *, reads: bool = True) -> None:
    """Open an event stream of the session, and read it or not."""
    path, headers = f"/api/v1/sessions/{session['id']}/events", {"Accept": "text/event-stream"}
    with contextlib.suppress(httpx.HTTPError, TimeoutError):
        async with asyncio.timeout(SECS), client.stream("GET", path, headers=headers) as answer:
            target.seen[str(answer.status_code)] += 1
            if not reads:
                await stay(SECS)
            async for _ in answer.aiter_bytes():
                pass
