"""Agent Assembly's sink and hub: a wait that is registered at once, and a stream that loses nothing."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import Any

import pytest

from tests.servers.stack import House
from tests.waiting import wait_until, wait_until_async
from wardroom import ApprovalSink, AsyncApprovalSink, AsyncClient, Client
from wardroom.client import Event

pytestmark = [pytest.mark.stack, pytest.mark.timeout(300)]


def ask(client: Client) -> dict[str, Any]:
    return client.ask_approval("shell", {"command": "ls"}, permission="execute", resource="ls")


def test_the_deadline_starts_at_the_call_and_nobody_has_to_look(client: Client) -> None:
    """There, it starts at the first poll of the future."""
    with ApprovalSink(client) as sink:
        wait = sink.wait_for_approval(ask(client)["id"], 0.3)
        assert sink.waiter_count == 1
        wait_until(lambda: wait.is_over)
        assert sink.waiter_count == 0
        assert wait.result().state == "pending"


async def test_a_wait_that_is_dropped_leaves_nothing_behind(house: House, client: Client) -> None:
    """There, a future that nobody awaits leaves its entry in the map."""
    asked = ask(client)
    async with AsyncClient(house.url, house.key) as caller, AsyncApprovalSink(caller) as sink:
        dropped = sink.wait_for_approval(asked["id"], 600)
        kept = sink.wait_for_approval(asked["id"], 600)
        assert sink.waiter_count == 2
        dropped.cancel()
        await wait_until_async(lambda: sink.waiter_count == 1)
        client.decide(asked, "approve")
        assert (await kept).state == "approved"
        assert sink.waiter_count == 0


def test_a_verdict_that_came_while_nobody_was_connected_is_read_once(client: Client) -> None:
    """Events are kept for a subscriber that is away, and replayed after its last number."""
    start = client.get("feed", {"limit": 1})["cursor"]
    head = client.get("snapshot")["cursor"]
    assert head >= start
    asked = ask(client)
    first = of(client.feed(after=head), asked["id"])
    seen = next(first)
    assert seen["type"] == "approval_requested"
    first.close()  # type: ignore[attr-defined]
    client.decide(asked, "deny")
    other = ask(client)
    later = itertools.takewhile(
        lambda event: (event.get("payload") or {}).get("approval_id") != other["id"],
        client.feed(after=seen["cursor"]),
    )
    types = [each["type"] for each in later if (each.get("payload") or {}).get("approval_id") == asked["id"]]
    assert types == ["approval_decided"]


def of(events: Iterator[Event], approval: str) -> Iterator[Event]:
    yield from (event for event in events if (event.get("payload") or {}).get("approval_id") == approval)
