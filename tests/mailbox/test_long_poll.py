"""Waiting over REST for the answer to an ask at a plain address: on the event loop, so it costs no thread."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from accounts import scopes
from ledger import hub
from tests.mailbox.faces import Caller
from tests.threads import operations_have_ended
from tests.waiting import wait_until

pytestmark = pytest.mark.django_db(transaction=True)
DESK = "/api/v1/mailboxes/desk"


@pytest.fixture
def caller(web_server: Any, project: Any) -> Iterator[Caller]:
    yield Caller(web_server, project, scopes=scopes.ALL)
    operations_have_ended()


@pytest.fixture
def aside() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(64) as threads:
        yield threads


def ask(caller: Caller, name: str = "q") -> str:
    assert caller.post(f"{DESK}/messages", {"id": name, "message_kind": "ask", "body": {"question": "?"}}).is_success
    return f"{DESK}/asks/{name}"


def reply(caller: Caller, answer: Any, name: str = "q") -> None:
    assert caller.post(f"{DESK}/reply", {"ask_id": name, "answer": answer}).status_code == 201


def test_a_look_is_held_until_the_answer_comes(caller: Caller, aside: ThreadPoolExecutor, timings: Any) -> None:
    timings(hub_poll_secs=60)  # Out of reach: a wake-up ends the wait, not the poll and not the 25 s of a held call.
    path = ask(caller)
    held = aside.submit(caller.get, path, timeout="60")
    assert caller.get(path).json() == {"status": "pending", "ask_id": "q"}
    assert not held.done()
    reply(caller, {"green": True})
    told = held.result(20).json()
    assert (told["status"], told["answer"]) == ("answered", {"green": True})
    assert caller.get(path, timeout="60").json() == told


def test_a_wait_that_ends_says_pending(caller: Caller, timings: Any) -> None:
    path = ask(caller)
    assert caller.get(path, timeout="0.2").json() == {"status": "pending", "ask_id": "q"}
    timings(held_call_secs=0.2)
    assert caller.get(path, timeout="300").json()["status"] == "pending"


def test_an_answer_whose_wake_up_is_lost_is_found_by_the_poll(
    caller: Caller, aside: ThreadPoolExecutor, timings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    timings(hub_poll_secs=0.3)
    held = aside.submit(caller.get, ask(caller), timeout="25")
    monkeypatch.setattr("ledger.wakeups.publish", lambda topics: False)
    reply(caller, "unheard")
    assert held.result(15).json()["answer"] == "unheard"


def test_many_wait_at_once_and_cost_no_thread(caller: Caller, aside: ThreadPoolExecutor) -> None:
    """More than a web process has threads. If each wait held one, a delivery would wait for all of them."""
    names = [f"q-{number}" for number in range(24)]
    paths = [ask(caller, name) for name in names]
    held = [aside.submit(caller.get, path, timeout="25") for path in paths]
    wait_until(lambda: len(listening()) == 24)
    ask(caller, "one more")
    assert not any(each.done() for each in held)
    for name in names:
        reply(caller, name, name)
    assert [each.result(25).json()["answer"] for each in held] == names


def listening() -> set[str]:
    """Return the topics of the server's hub."""
    return {topic for each in hub._hubs.values() for topic in each._subscriptions if topic.startswith("ask:")}
