"""A whole Wardroom sends webhooks by itself, soon, and loses none to a kill."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from tests.ledger.webhooks.receiver import receiving
from tests.servers.stack import House
from tests.waiting import wait_until

pytestmark = pytest.mark.stack
ASK = {"tool_name": "t", "permission": "p", "resource": "r"}


def call(house: House, path: str, body: Any) -> Any:
    answer = house.client().post(f"/api/v1/{path}", json=body)
    assert answer.is_success, answer.text
    return answer.json()


def test_the_wake_up_of_a_commit_sends_it_soon(stack: Callable[..., House]) -> None:
    with receiving() as receiver:
        house = stack(env={"WEBHOOKS_PRIVATE": "1"}, beat=False)
        secret = call(house, "webhooks", {"url": receiver.url, "types": ["approval_requested"]})["secret"]
        asked = call(house, "approvals", {"request_id": "a", **ASK})["id"]
        # No sweep runs here.
        wait_until(lambda: receiver.got)
        assert [each["data"]["approval"] for each in receiver.verified(secret)] == [asked]
        assert b"tool_name" not in receiver.got[0][1]


@pytest.mark.slow
def test_a_killed_worker_loses_no_event(stack: Callable[..., House]) -> None:
    with receiving() as receiver:
        house = stack(env={"WEBHOOKS_PRIVATE": "1"})
        secret = call(house, "webhooks", {"url": receiver.url, "types": ["approval_requested"]})["secret"]
        asked = []
        for number in range(4):
            asked.append(call(house, "approvals", {"request_id": str(number), **ASK})["id"])
            wait_until(lambda: len(receiver.got) > len(asked) - 3)
            house.kill("worker")
            house.start("worker")
        wait_until(lambda: len(set(receiver.ids)) == len(asked), 60)
        assert {each["data"]["approval"] for each in receiver.verified(secret)} == set(asked)
