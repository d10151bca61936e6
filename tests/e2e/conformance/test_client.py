"""The REST client against a real server: programs that spawn, watch and answer."""

from __future__ import annotations

import itertools
import threading
from uuid import uuid4

import pytest

from tests.e2e.conformance.conftest import Spawn
from tests.e2e.conformance.peer import connect_child
from tests.servers.stack import House
from wardroom import Client
from wardroom.client import Problem

pytestmark = [pytest.mark.stack, pytest.mark.surface, pytest.mark.timeout(300)]


@pytest.fixture
def client(house: House) -> Client:
    return Client(house.url, house.key)


def test_a_spawn_with_a_key_of_its_own_happens_once(client: Client) -> None:
    key = uuid4().hex
    first = client.spawn("x", runner="external", idempotency_key=key)
    again = client.spawn("x", runner="external", idempotency_key=key)
    assert first["id"] == again["id"]
    assert first["child"]["token"]
    assert not (again.get("child") or {}).get("token"), "a secret is not told twice"
    with pytest.raises(Problem) as refusal:
        client.spawn("y", runner="external", idempotency_key=key)
    assert refusal.value.status == 422


def test_lists_are_followed_over_all_pages(client: Client) -> None:
    parent = client.spawn("x", runner="external")["id"]
    made = {client.spawn(f"n{n}", runner="external", parent=parent)["id"] for n in range(7)}
    assert {session["id"] for session in client.sessions(parent=parent, limit=3)} == made


@pytest.mark.parametrize("id", ["nonsense", str(uuid4())])
def test_what_is_not_there_is_a_problem(client: Client, id: str) -> None:
    with pytest.raises(Problem) as refusal:
        client.session(id)
    assert refusal.value.status == 404


def test_a_wrong_key_is_a_problem(house: House) -> None:
    with pytest.raises(Problem, match="unauthenticated"):
        Client(house.url, "wr_key_1_nonsense").session(str(uuid4()))


def test_events_stream_as_they_happen_over_a_server_that_dies(house: House, client: Client, spawn: Spawn) -> None:
    session = spawn()
    with connect_child(session) as peer:
        peer.begin()
        peer.say("event", seq=1, event={"type": "one"})
        peer.hear("event_ack")
        seen = (event["type"] for event in client.events(session.id) if event["source"] == "child")
        assert next(seen) == "one"
        peer.say("event", seq=2, event={"type": "two"})
        peer.hear("event_ack")
        assert next(seen) == "two"
    house.kill("web1")
    house.start("web1")
    with connect_child(session) as peer:
        peer.say("hello", attempt=1)
        peer.hear("welcome")
        peer.say("event", seq=3, event={"type": "three"})
        peer.hear("event_ack")
        assert next(seen) == "three"


def test_a_stream_goes_on_from_where_it_is_told(client: Client, spawn: Spawn) -> None:
    session = spawn()
    with connect_child(session) as peer:
        peer.begin()
        for n in (1, 2, 3):
            peer.say("event", seq=n, event={"type": f"e{n}"})
            peer.hear("event_ack")
    events = [event for event in session.events() if event["source"] == "child"]
    after = client.events(session.id, after=events[0]["cursor"])
    assert [event["type"] for event in itertools.islice(after, 2)] == ["e2", "e3"]
    feed = client.feed(after=events[1]["cursor"])
    assert next(event for event in feed if event["session"] == session.id)["type"] == "e3"


def test_a_reader_whose_cursor_is_not_of_this_feed_is_told_so_by_an_event(client: Client, spawn: Spawn) -> None:
    told = next(client.feed(after=10**15))
    assert (told["type"], told["source"]) == ("resync", "wardroom")
    session = spawn()
    later = next(event for event in client.feed(after=told["cursor"]) if event["session"] == session.id)
    assert later["type"] == "session_created"


def test_an_approval_is_waited_for_and_answered_as_it_was_shown(client: Client, spawn: Spawn) -> None:
    session = spawn()
    with connect_child(session) as peer:
        peer.begin()
        registered = peer.ask()
        waiting = client.wait_approval(registered["approval_id"], timeout=0.5)
        assert waiting["timed_out"]
        shown = session.pending()
        with pytest.raises(Problem, match="digest-mismatch"):
            client.decide({**shown, "digest": "0" * 64}, "approve")
        with pytest.raises(Problem, match="version-conflict"):
            client.decide({**shown, "version": shown["version"] + 1}, "approve")
        answer = threading.Timer(0.5, client.decide, args=(shown, "approve"))
        answer.start()
        assert client.wait_approval(shown["id"], timeout=20)["status"] == "approved"
        answer.join()


def test_a_session_is_waited_for(client: Client, spawn: Spawn) -> None:
    session = spawn()
    with pytest.raises(TimeoutError, match="still"):
        client.wait_session(session.id, timeout=0.3)
    with connect_child(session) as peer:
        peer.begin()
        peer.finish(result="done")
    assert client.wait_session(session.id, timeout=10)["result"] == "done"


def test_an_ask_waits_for_the_answer_over_as_many_calls_as_it_takes(spawn: Spawn, client: Client) -> None:
    session = spawn()
    asked = client.ask(session.id, "how far?", timeout=0)
    assert asked["status"] == "pending"
    with connect_child(session) as peer:
        peer.begin()
        waits: list[dict[str, object]] = []
        for wait in (
            lambda: client.asked(session.id, asked["ask_id"], timeout=20),
            lambda: client.ask(session.id, "?"),
        ):
            thread = threading.Thread(target=lambda wait=wait: waits.append(wait()))
            thread.start()
            ask = peer.hear("message")
            body = {"answer": ask["text"]}
            peer.say("send", id=f"r-{ask['id']}", message_kind="reply", body=body, correlation_id=ask["id"])
            peer.hear("send_ack")
            thread.join(20)
        assert [each["answer"] for each in waits] == ["how far?", "?"]
        peer.finish()
    with pytest.raises(Problem) as refusal:
        client.ask(session.id, "still there?")
    assert (refusal.value.status, refusal.value.type) == (409, "not-running")
    with pytest.raises(Problem) as refusal:
        client.asked(session.id, "a/b?c")
    assert refusal.value.status == 404
