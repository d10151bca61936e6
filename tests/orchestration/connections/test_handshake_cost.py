"""The cost of a handshake before authentication: none for a malformed token, few places for others."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from threading import Event
from typing import Any

import pytest

from accounts import bulk_authentication, credentials
from orchestration.connections import backpressure, handshake
from orchestration.connections.transport import CloseConnection
from tests.orchestration.connections.conftest import Server, Spawn
from tests.waiting import wait_until

STRANGER = "wr_child_" + "a" * 16 + "_" + "b" * 43


class SlowCheck:
    """The real check of tokens, which can be held. Its calls and tokens are counted."""

    def __init__(self) -> None:
        self.calls = self.asked = 0
        self.go = Event()
        self._check = bulk_authentication.recognise_all

    def __call__(self, tokens: set[str]) -> dict[str, credentials.Recognised]:
        self.calls += 1
        self.asked += len(tokens)
        assert self.go.wait(30)
        return self._check(tokens)


@pytest.fixture
def slow_check(monkeypatch: pytest.MonkeyPatch) -> Iterator[SlowCheck]:
    held = SlowCheck()
    monkeypatch.setattr(bulk_authentication, "recognise_all", held)
    yield held
    held.go.set()


def bearer(token: str) -> dict[str, Any]:
    return {"additional_headers": {"Authorization": f"Bearer {token}"}, "subprotocols": ["wardroom.v1"]}


@pytest.mark.parametrize("token", ["", "nonsense", STRANGER + "x", STRANGER.upper()])
def test_what_is_no_token_is_refused_without_a_query(
    server: Server, child: Spawn, slow_check: SlowCheck, token: str
) -> None:
    slow_check.go.set()
    with server.dial(child.id, **bearer(token)) as peer:
        assert peer.end() == (4401, "unknown token")
    assert slow_check.asked == 0


@pytest.mark.parametrize("bound", ["unproven_handshakes", "unproven_handshakes_per_address"])
def test_few_handshakes_are_checked_at_a_time(
    server: Server, child: Spawn, slow_check: SlowCheck, timings: Callable[..., None], bound: str
) -> None:
    timings(**{bound: 2})
    with ExitStack() as opened:
        checked = [opened.enter_context(server.dial(child.id, **bearer(STRANGER))) for _ in range(2)]
        wait_until(lambda: slow_check.asked == 2)
        with server.knock(child) as late:
            code, reason = late.end()
        assert (code, reason.startswith("retry after 2 seconds")) == (1013, True)
        slow_check.go.set()
        assert [each.code() for each in checked] == [4401, 4401]
    with server.knock(child) as again:
        again.say("hello", attempt=1)
        again.hear("welcome")


def test_forged_tokens_share_a_query_and_take_no_thread_each(
    server: Server, child: Spawn, slow_check: SlowCheck, timings: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    timings(unproven_handshakes=100, unproven_handshakes_per_address=100)
    threads: list[object] = []
    monkeypatch.setattr(handshake, "authenticate", lambda *args: threads.append(args))
    forged = [f"{STRANGER[:-2]}{number:02}" for number in range(20)]
    with ExitStack() as opened:
        peers = [opened.enter_context(server.dial(child.id, **bearer(token))) for token in forged]
        wait_until(lambda: backpressure._handshakes.total() == len(forged))
        assert slow_check.calls <= 2  # The rest waits for one of these to end.
        slow_check.go.set()
        assert [each.end() for each in peers] == [(4401, "unknown token")] * len(forged)
    assert (slow_check.calls, slow_check.asked, threads) == (3, len(forged), [])


def test_one_address_leaves_places_to_others(timings: Callable[..., None]) -> None:
    timings(unproven_handshakes=3, unproven_handshakes_per_address=2)
    with backpressure.count_handshake("one"), backpressure.count_handshake("one"):
        with pytest.raises(CloseConnection), backpressure.count_handshake("one"):
            pass
        with backpressure.count_handshake("two"), pytest.raises(CloseConnection), backpressure.count_handshake("three"):
            pass
        with backpressure.count_handshake("three"):
            pass
    assert not backpressure._handshakes
