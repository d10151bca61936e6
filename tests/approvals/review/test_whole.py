"""A whole Wardroom calls reviewers by itself. One that hangs holds up nobody else, and no review is lost to a kill."""

from __future__ import annotations

import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler
from typing import Any

import pytest

from tests.approvals.review.conftest import said
from tests.ledger.webhooks.receiver import receiving
from tests.servers.stack import House
from tests.waiting import wait_until

# Each part of it runs on both databases in the other modules.
pytestmark = [pytest.mark.stack, pytest.mark.surface]


def test_a_reviewer_that_hangs_holds_up_no_other_and_a_killed_worker_loses_no_review(
    stack: Callable[..., House],
) -> None:
    over = threading.Event()

    def hang(handler: BaseHTTPRequestHandler) -> None:
        assert over.wait(60)

    with receiving() as slow, receiving() as quick:
        house = stack(env={"WEBHOOKS_PRIVATE": "1"}, timings={"sweep_secs": 1})
        client = house.client()

        def call(path: str, body: Any) -> Any:
            answer = client.post(f"/api/v1/{path}", json=body)
            assert answer.is_success, answer.text
            return answer.json()

        def ask(tool: str) -> str:
            asked = {"request_id": tool, "tool_name": tool, "permission": "p", "resource": "r"}
            return str(call("approvals", asked)["id"])

        def shown(id: str) -> Any:
            return client.get(f"/api/v1/approvals/{id}").json()

        for name, url in (("slow", slow.url), ("quick", quick.url)):
            call("reviewers", {"name": name, "url": url})
            review = {"reviewer": name, "deadline_secs": 100}
            call("rules", {"name": name, "match": {"tools": [name]}, "outcome": "review", "review": review})
        slow.answers = [hang]
        quick.answers = [said("DENY")]
        first = ask("slow")
        wait_until(lambda: slow.got)
        second = ask("quick")
        wait_until(lambda: shown(second)["status"] == "denied")
        assert (shown(first)["status"], shown(first)["reviews"][0]["state"]) == ("pending", "waiting")
        slow.answers = [said("DENY")]
        house.kill("worker")
        house.start("worker")
        wait_until(lambda: shown(first)["status"] == "denied", 60)
        assert len(slow.ids) == 2 and len(set(slow.ids)) == 1
        over.set()
