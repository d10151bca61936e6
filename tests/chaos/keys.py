"""Attacks with one API key."""

from __future__ import annotations

from tests.chaos.target import SECS, Target, ready, run_all, until_over
from tests.waiting import stay


async def many_calls(target: Target) -> None:
    """Five hundred calls of one key at the same time."""
    ready()
    async with target.client() as client:
        path = "/api/v1/sessions?limit=50"
        await until_over(lambda: run_all((target.call(client, "GET", path) for _ in range(500)), every=0.001))


async def bodies_of_nothing(target: Target) -> None:
    """Bodies of nearly 2 MiB that decode to a million lists, thirty at a time."""
    body = b'{"metadata": {"a": [' + b",".join([b"[]"] * (600_000)) + b"]}}"
    ready()
    headers = {"Content-Type": "application/json"}
    async with target.client() as client:
        calls = ("/api/v1/sessions", "/api/v1/approvals", "/api/v1/mailboxes/x/messages")
        await until_over(
            lambda: run_all(
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
            lambda: run_all(
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
            await run_all(target.call(client, "GET", f"/api/v1/{path}") for path in paths)
            spawns = ({"runner": "external", "assignment": "x", "metadata": metadata} for metadata in orders)
            await run_all(target.call(client, "POST", "/api/v1/sessions", json=order) for order in spawns)

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


async def waiting_calls(target: Target) -> None:
    """Five hundred calls of one key that wait for an approval that nobody answers."""
    async with target.client() as client:
        asked = {"request_id": "chaos", "tool_name": "shell", "permission": "run", "resource": "x"}
        told = (await client.post("/api/v1/approvals", json=asked)).raise_for_status().json()
        ready()
        path = f"/api/v1/approvals/{told['id']}/wait?timeout={SECS}"
        await run_all((target.call(client, "GET", path) for _ in range(500)), every=0.005)
