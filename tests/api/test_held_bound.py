"""The calls of one caller that wait at a web process: so many, and others' are held as before."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import pytest

from accounts import scopes
from ledger import long_poll
from mailbox.models import Message
from tests.orchestration.connections.callers import Caller, caller, pending, refusal
from tests.orchestration.connections.conftest import Server, Spawn, _uvicorn, server, spawn  # noqa: F401 - fixtures
from tests.waiting import wait_until

__all__ = ["caller"]

MOST = 2
WAIT = {"timeout": 25}


@pytest.fixture
def pool() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(8) as threads:
        yield threads


Call = Callable[[Caller], Any]


def wait_for_approval(by: Caller, child: Spawn) -> tuple[Call, Callable[[], Any]]:
    body = {"request_id": "r", "tool_name": "shell", "permission": "run", "resource": "ls", "arguments": {"a": 1}}
    told = by.post("/approvals", body).raise_for_status().json()
    path = f"/approvals/{told['id']}"
    decision = {"decision": "approve", "digest": told["digest"]}
    return lambda caller: caller.get(f"{path}/wait?timeout=25"), lambda: by.post(f"{path}/decide", decision)


def wait_at_mailbox(by: Caller, child: Spawn) -> tuple[Call, Callable[[], Any]]:
    ask = {"id": "q", "message_kind": "ask", "body": {"question": "?"}}
    by.post("/mailboxes/desk/messages", ask).raise_for_status()
    path = "/mailboxes/desk"
    answer = {"ask_id": "q", "answer": 1}
    return lambda caller: caller.get(f"{path}/asks/q?timeout=25"), lambda: by.post(f"{path}/reply", answer)


def wait_for_late_answer(by: Caller, child: Spawn) -> tuple[Call, Callable[[], Any]]:
    ask_id = pending(by, child.id)
    end = f"/sessions/{child.id}/cancel"
    return lambda caller: caller.look(child.id, ask_id, **WAIT), lambda: by.post(end, {})


def ask_session(by: Caller, child: Spawn) -> tuple[Call, Callable[[], Any]]:
    end = f"/sessions/{child.id}/cancel"
    return lambda caller: caller.ask(child.id, timeout_secs=25), lambda: by.post(end, {})


@pytest.mark.parametrize("prepare", [wait_for_approval, wait_at_mailbox, wait_for_late_answer, ask_session])
def test_one_caller_has_so_many_waiting_calls_and_keeps_none_of_another_from_waiting(
    server: Server,  # noqa: F811
    spawn: Any,  # noqa: F811
    timings: Any,
    caller: Any,
    pool: ThreadPoolExecutor,
    prepare: Any,
) -> None:
    timings(held_calls_per_credential=MOST)
    greedy, other = caller(*scopes.ALL), caller(*scopes.ALL)
    call, end = prepare(greedy, spawn())
    waiting: list[Future[Any]] = [pool.submit(call, greedy) for _ in range(MOST)]
    wait_until(lambda: sum(long_poll._held.values()) == MOST)
    refused = call(greedy)
    assert refusal(refused) == (429, "too-many")
    assert int(refused.headers["Retry-After"]) > 0
    waiting.append(pool.submit(call, other))
    wait_until(lambda: sum(long_poll._held.values()) == MOST + 1)
    if prepare is ask_session:
        wait_until(lambda: questions() == MOST + 1)  # A refused call asks nothing.
    end().raise_for_status()
    assert [each.result(25).status_code for each in waiting] == [200] * (MOST + 1)
    wait_until(lambda: not long_poll._held)


def questions() -> int:
    return Message.objects.filter(message_kind="ask").count()


@pytest.mark.parametrize("timeout", ["", "?timeout=0"])
@pytest.mark.parametrize("prepare", [wait_for_approval, wait_at_mailbox, wait_for_late_answer])
def test_a_call_that_waits_for_no_second_is_counted_like_any_other(
    server: Server,  # noqa: F811
    spawn: Any,  # noqa: F811
    timings: Any,
    caller: Any,
    prepare: Any,
    timeout: str,
) -> None:
    somebody, paths = caller(*scopes.ALL), Paths()
    prepare(somebody, spawn())[0](paths)
    with timings(held_call_secs=0.05):
        assert somebody.get(paths.last + timeout).status_code == 200
    timings(held_calls_per_credential=0)
    assert refusal(somebody.get(paths.last + timeout)) == (429, "too-many")


class Paths:
    """Takes the place of a caller, and keeps the path of its call."""

    last = ""

    def get(self, path: str) -> None:
        self.last = path.partition("?")[0]

    def look(self, session: object, ask_id: str, **_: Any) -> None:
        self.last = f"/sessions/{session}/asks/{ask_id}"
