"""A question on one web process to a child on another, and the death of either."""

from __future__ import annotations

import time
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import httpx
import psycopg
import pytest
from django.db import connection

from mailbox.addresses import session_address
from tests.e2e.conformance.conftest import Session
from tests.e2e.conformance.peer import Peer, connect_child
from tests.servers.stack import House
from tests.waiting import wait_until
from wardroom.client import Client

pytestmark = [pytest.mark.stack, pytest.mark.surface, pytest.mark.timeout(300)]


@pytest.fixture
def house(stack: Any) -> House:
    # The poll behind the wake-ups is put out of reach: what comes soon came by a wake-up.
    return stack(web=2, worker=False, beat=False, timings={"hub_poll_secs": 20})


class Ask:
    """A session with its child on web 2, and a caller on web 1."""

    def __init__(self, house: House) -> None:
        self.house = house
        self.here, self.there = house.client(web=1), house.client(web=2)
        made = self.here.post("/api/v1/sessions", json={"assignment": "x", "runner": "external"}).json()
        self.id = made["id"]
        url = house.socket_url(f"/ws/children/{self.id}", web=2)
        self.session = Session(Client(house.urls[1], house.key), self.id, made["child"]["token"], url)
        self.threads = ThreadPoolExecutor(2)

    @contextmanager
    def child(self) -> Iterator[Peer]:
        with connect_child(self.session) as peer:
            peer.begin()
            yield peer

    def held(self, question: str = "how far?", client: httpx.Client | None = None, **headers: str) -> Future[Any]:
        body = {"question": question, "timeout_secs": 25}
        return self.threads.submit((client or self.here).post, f"{self.path}/ask", json=body, headers=headers)

    @property
    def path(self) -> str:
        return f"/api/v1/sessions/{self.id}"

    def look(self, client: httpx.Client, ask_id: str) -> dict[str, Any]:
        found: dict[str, Any] = client.get(f"{self.path}/asks/{ask_id}").raise_for_status().json()
        return found

    def answered(self, peer: Peer, answer: Any) -> str:
        """Answer the next question; its id."""
        while (ask := peer.hear("message", "run"))["kind"] == "run":  # Sent again when its acknowledgement got lost.
            pass
        reply = {"message_kind": "reply", "body": {"answer": answer}, "correlation_id": ask["correlation_id"]}
        peer.say("send", id=f"r-{ask['id']}", **reply)
        peer.hear("send_ack")
        return str(ask["id"])


@pytest.fixture
def ask(house: House) -> Iterator[Ask]:
    made = Ask(house)
    yield made
    made.threads.shutdown()


def test_an_answer_on_one_web_process_ends_the_wait_on_another(ask: Ask) -> None:
    with ask.child() as peer:
        held = ask.held()
        started = time.monotonic()
        ask_id = ask.answered(peer, {"step": 3})
        answer = held.result(20).json()
        assert time.monotonic() - started < 10
        assert (answer["status"], answer["answer"], answer["ask_id"]) == ("answered", {"step": 3}, ask_id)
        held = ask.held("and now?")
        peer.hear("message")
        started = time.monotonic()
        peer.finish()
        assert held.result(20).json()["status"] == "ended"
        assert time.monotonic() - started < 10


def test_the_answer_survives_the_kill_of_the_process_that_waited(ask: Ask) -> None:
    key = {"Idempotency-Key": "asked-once"}
    with ask.child() as peer:
        held = ask.held(**key)
        question = peer.hear("message")
        ask.house.kill("web1")
        assert held.exception(20) is not None
        reply = {"message_kind": "reply", "body": {"answer": "still here"}, "correlation_id": question["id"]}
        peer.say("send", id="r", **reply)
        peer.hear("send_ack")
        assert ask.look(ask.there, question["id"])["answer"] == "still here"
        ask.house.start("web1")
        again = ask.held(**key).result(20).json()
        assert (again["ask_id"], again["answer"]) == (question["id"], "still here"), "the same question, answered"
        assert peer.hears_nothing()


def test_the_wait_survives_the_kill_of_the_process_that_held_the_connection(ask: Ask) -> None:
    held = ask.held()
    with ask.child() as peer:
        peer.hear("message")
        ask.house.kill("web2")
    assert not held.done()
    ask.house.start("web2")
    with connect_child(ask.session) as peer:
        peer.say("hello", attempt=1)
        peer.hear("welcome")
        ask.answered(peer, "back")
        assert held.result(25).json()["answer"] == "back"


def test_a_process_that_is_told_to_stop_lets_its_callers_go(ask: Ask) -> None:
    with ask.child() as peer:
        held = ask.held()
        peer.hear("message")
        started = time.monotonic()
        ask.house.stop("web1")
        assert time.monotonic() - started < 15
        assert held.result(5).json()["status"] == "pending"
        assert ask.look(ask.there, held.result().json()["ask_id"])["status"] == "pending"


@pytest.mark.skipif(connection.vendor != "postgresql", reason="the lock that holds the call up is PostgreSQL's")
def test_a_first_call_that_is_not_held_yet_when_its_process_is_told_to_stop_is_let_go(ask: Ask) -> None:
    held_up = "SELECT count(*) FROM pg_locks WHERE NOT granted"
    with psycopg.connect(ask.house.environment["DATABASE_URL"]) as other:
        other.execute("LOCK TABLE mailbox_address")
        held = ask.held()
        wait_until(lambda: other.execute(held_up).fetchone() == (1,))
        web = ask.house.services["web1"].process
        assert web is not None
        web.terminate()
    answer = held.result(20)
    assert (answer.status_code, answer.json()["status"]) == (200, "pending")


def test_a_program_of_ones_own_asks_a_session_of_the_house(ask: Ask) -> None:
    """`Mailbox.ask` in another process, on the address of a session."""
    asking = f"Mailbox({session_address(ask.id)!r}).ask('far?', timeout_secs=25)"
    words = f"from mailbox import Mailbox; print({asking}.answer)"
    with ask.child() as peer:
        told = ask.threads.submit(ask.house.manage, "shell", "-v", "0", "-c", words)
        ask.answered(peer, "this far")
        assert told.result(40).strip().splitlines()[-1] == "this far"


def test_a_storm_of_questions_has_one_answer_each(ask: Ask) -> None:
    """A hundred callers at once, on both web processes, one child that answers them as they come."""
    callers = ThreadPoolExecutor(100)
    ask.here.timeout = ask.there.timeout = 90  # ours, not theirs: two cores may be busy with more than this

    def call(number: int) -> tuple[int, Any]:
        client = (ask.here, ask.there)[number % 2]
        body = {"question": str(number), "timeout_secs": 25}
        answer = client.post(f"{ask.path}/ask", json=body).raise_for_status().json()
        return number, answer.get("answer", answer)

    with ask.child() as peer:
        calls = [callers.submit(call, number) for number in range(100)]
        asked, acked = 0, 0
        while acked < 100:
            frame = peer.hear("message", "send_ack", timeout=30)
            if frame["kind"] == "send_ack":
                acked += 1
                continue
            asked += 1
            body = {"answer": int(frame["text"]) * 2}
            peer.say("send", id=f"r{asked}", message_kind="reply", body=body, correlation_id=frame["id"])
        assert sorted(each.result(60) for each in calls) == [(number, number * 2) for number in range(100)]
    callers.shutdown()
    wait_until(lambda: ask.there.get("/readyz").status_code == 200)
