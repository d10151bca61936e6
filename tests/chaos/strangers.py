"""Attacks without a token."""

from __future__ import annotations

import asyncio
import secrets
from typing import Any
from urllib.parse import urlsplit

from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.typing import Subprotocol

from tests.chaos.target import MIB, SECS, Target, ready, run_all, until_over
from tests.waiting import stay

V1 = [Subprotocol("wardroom.v1")]


async def anonymous_bodies(target: Target) -> None:
    """Bodies of 200 MB without a token, by length and in chunks, to a route, the login and an unknown path."""
    ready()

    async def endless() -> Any:
        for _ in range(200):
            yield b"x" * MIB

    async with target.client("") as client:
        paths = ("/api/v1/sessions", "/admin/login/", "/nix")
        await until_over(
            lambda: run_all(target.call(client, "POST", path, content=endless()) for path in paths for _ in range(4))
        )


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


async def forged_tokens(target: Target) -> None:
    """Tokens of the right shape that nobody minted, each another one: two hundred calls at a time, and sockets."""
    session = await target.external()
    ready()

    def forged(kind: str) -> str:
        return f"wr_{kind}_{secrets.token_hex(8)}_{secrets.token_hex(22)[:43]}"

    async def knock() -> None:
        headers = {"Authorization": f"Bearer {forged('child')}"}
        try:
            async with connect(session["url"], additional_headers=headers, subprotocols=V1, proxy=None) as socket:
                await socket.recv()
        except ConnectionClosed:
            target.seen[f"close {socket.close_code}"] += 1
        except (InvalidStatus, OSError) as refused:
            target.seen[type(refused).__name__] += 1

    async with target.client("") as client:

        async def call() -> None:
            await target.call(client, "GET", "/api/v1/sessions", headers={"Authorization": f"Bearer {forged('key')}"})

        await until_over(lambda: run_all([*(call() for _ in range(200)), *(knock() for _ in range(20))]))


async def anonymous_documents(target: Target) -> None:
    """The largest page that needs no token, thirty at a time."""
    ready()
    async with target.client("") as client:
        await until_over(lambda: run_all(target.call(client, "GET", "/api/v1/schema") for _ in range(30)))
