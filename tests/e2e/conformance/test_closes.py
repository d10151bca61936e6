"""Every close code that a child can bring about, one test each."""

from __future__ import annotations

import json
import socket
from urllib.parse import urlsplit
from uuid import uuid4

import pytest
from websockets.client import ClientProtocol
from websockets.typing import Subprotocol
from websockets.uri import parse_uri

from tests.e2e.conformance.conftest import Session, Spawn
from tests.e2e.conformance.peer import announce, connect_child
from tests.servers.stack import House
from tests.waiting import wait_until

pytestmark = [pytest.mark.stack, pytest.mark.surface, pytest.mark.timeout(300)]


def running(session: Session) -> bool:
    return bool(session.now()["status"] == "running")


def test_1000_after_the_terminal_is_acknowledged(spawn: Spawn) -> None:
    session = spawn()
    with connect_child(session) as peer:
        peer.begin()
        peer.finish()
        assert peer.closed() == 1000
    assert session.now()["status"] == "completed"


def test_1009_a_frame_over_twice_the_limit(spawn: Spawn) -> None:
    session = spawn()
    with connect_child(session) as peer:
        peer.begin()
        announce(peer.socket, 2 * 1024 * 1024 + 1)
        assert peer.closed() == 1009
    assert running(session)


BAD = {
    "not JSON": "hello",
    "not an object": "[1]",
    "no kind": "{}",
    "a wrong type": '{"kind": "event", "seq": "one", "event": {"type": "x"}}',
    "a bool for a number": '{"kind": "event", "seq": true, "event": {"type": "x"}}',
    "NaN": '{"kind": "event", "seq": 1, "event": {"type": "x", "n": NaN}}',
    "a number beyond a double": '{"kind": "event", "seq": 1, "event": {"type": "x", "n": 1e999}}',
    "NUL": '{"kind": "event", "seq": 1, "event": {"type": "x", "n": "\\u0000"}}',
    "a lone surrogate": '{"kind": "event", "seq": 1, "event": {"type": "x", "n": "\\ud800"}}',
    "a duplicate key": '{"kind": "event", "seq": 1, "seq": 2, "event": {"type": "x"}}',
    "65 levels": '{"kind": "event", "seq": 1, "event": {"type": "x", "n": ' + "[" * 63 + "]" * 63 + "}}",
    "100,000 levels": '{"kind": "event", "seq": 1, "event": {"type": "x", "n": ' + "[" * 100_000,
    "too many keys": json.dumps({"kind": "run_ack", "x": {str(n): n for n in range(10_000)}}),
    "too many values": '{"kind": "event", "seq": 1, "event": {"type": "x", "n": [' + "[]," * 100_000 + "1]}}",
    "a batch that does not add up": json.dumps(
        {"kind": "event_batch", "first_seq": 1, "last_seq": 3, "qos": "durable", "events": [{"type": "x"}]}
    ),
    "a binary frame": b"\x00\x01",
}


@pytest.mark.parametrize("text", BAD.values(), ids=BAD)
def test_4400_what_is_not_the_protocol(spawn: Spawn, text: str | bytes) -> None:
    session = spawn()
    with connect_child(session) as peer:
        peer.begin()
        peer.socket.send(text)
        assert peer.closed() == 4400
    assert running(session)
    assert [event for event in session.events() if event["source"] == "child"] == []


def test_4400_a_first_frame_that_is_not_hello(spawn: Spawn) -> None:
    with connect_child(spawn()) as peer:
        peer.say("run_ack")
        assert peer.closed() == 4400


def test_4400_a_dialect_that_nobody_knows(spawn: Spawn) -> None:
    with connect_child(spawn(), ("wardroom.v9",)) as peer:
        assert peer.closed() == 4400


@pytest.mark.parametrize("token", [None, "nonsense", "wr_child_1_secret", "wr_key_1_secret", ""])
def test_4401_no_token_or_an_unknown_one(spawn: Spawn, token: str | None) -> None:
    session = spawn()
    if token == "":
        token = session.token[:-1] + ("a" if session.token[-1] != "a" else "b")
    with connect_child(session, token=token) as peer:
        assert peer.closed() == 4401


def test_4401_an_api_key_is_no_childs_token(spawn: Spawn, house: House) -> None:
    with connect_child(spawn(), token=house.key) as peer:
        assert peer.closed() == 4401


def test_4401_a_token_that_was_replaced(spawn: Spawn) -> None:
    session = spawn()
    fresh = session.client.post(f"sessions/{session.id}/token", {})
    with connect_child(session) as peer:
        assert peer.closed() == 4401
    with connect_child(session, token=fresh["token"]) as peer:
        peer.begin()


def test_4403_a_token_of_another_session(spawn: Spawn) -> None:
    one, two = spawn(), spawn()
    with connect_child(one, token=two.token) as peer:
        assert peer.closed() == 4403


@pytest.mark.parametrize("id", [str(uuid4()), "not-a-uuid", "%00", "x" * 300])
def test_4404_no_such_session(spawn: Spawn, id: str) -> None:
    session = spawn()
    with connect_child(session, url=session.url.replace(session.id, id)) as peer:
        assert peer.closed() == 4404


def test_the_token_is_checked_before_the_session(spawn: Spawn) -> None:
    session = spawn()
    with connect_child(session, url=session.url.replace(session.id, str(uuid4())), token="nonsense") as peer:
        assert peer.closed() == 4401


def test_4408_no_hello(spawn: Spawn) -> None:
    session = spawn()
    with connect_child(session) as peer:
        assert peer.closed() == 4408
    assert not running(session)


def test_4409_replaced_by_a_newer_connection(spawn: Spawn) -> None:
    session = spawn()
    with connect_child(session) as older:
        older.begin()
        with connect_child(session) as newer:
            newer.begin(need_run=True)
            assert older.closed() == 4409
            older.socket.close()
            newer.say("event", seq=1, event={"type": "x"})
            newer.hear("event_ack")
            assert session.now()["live"]
            newer.finish()


def test_4409_another_attempt_than_the_tokens(spawn: Spawn) -> None:
    with connect_child(spawn()) as peer:
        peer.say("hello", attempt=2)
        assert peer.closed() == 4409


def test_4410_an_attempt_that_is_over(spawn: Spawn) -> None:
    session = spawn()
    with connect_child(session) as peer:
        peer.begin()
        peer.finish()
    for hello in (True, False):
        with connect_child(session) as peer:
            if hello:
                peer.say("hello", attempt=1)
            assert peer.closed() == 4410


def test_4413_a_frame_over_the_limit(spawn: Spawn) -> None:
    session = spawn()
    with connect_child(session) as peer:
        peer.begin()
        peer.say("event", seq=1, event={"type": "x", "pad": "x" * (1024 * 1024)})
        assert peer.closed() == 4413
    assert running(session)


def test_4429_more_frames_than_the_limit(spawn: Spawn) -> None:
    session = spawn()
    with connect_child(session) as peer:
        peer.begin()
        for _ in range(5000):
            peer.say("nothing")
        assert peer.closed(timeout=30) == 4429
        assert any(character.isdigit() for character in peer.socket.close_reason or "")


def test_1012_the_server_restarts(house: House, spawn: Spawn) -> None:
    session = spawn()
    with connect_child(session) as peer:
        peer.begin()
        house.stop("web1")
        assert peer.closed() == 1012
    house.start("web1")
    wait_until(lambda: running(session))
    with connect_child(session) as peer:
        peer.begin(need_run=True)
        peer.finish()


@pytest.mark.slow
@pytest.mark.slice
def test_1011_a_ping_that_was_not_answered(spawn: Spawn) -> None:
    """A socket that nobody reads: the ping after 20 s has 20 s to be answered."""
    session = spawn()
    address = urlsplit(session.url)
    client = ClientProtocol(parse_uri(session.url), subprotocols=[Subprotocol("wardroom.plain")])
    request = client.connect()
    request.headers["Authorization"] = f"Bearer {session.token}"
    with socket.create_connection((address.hostname, address.port)) as raw:
        client.send_request(request)
        raw.sendall(b"".join(client.data_to_send()))
        wait_until(lambda: running(session))
        wait_until(lambda: not session.now()["live"], 50)
        raw.settimeout(5)
        while data := raw.recv(65536):
            client.receive_data(data)
        client.receive_eof()
    assert client.close_code == 1011


def test_other_connections_do_not_notice(spawn: Spawn) -> None:
    good, bad = spawn(), spawn()
    with connect_child(good) as peer:
        peer.begin()
        for _ in range(20):
            with connect_child(bad) as other:
                other.socket.send(b"\xff")
                assert other.closed() == 4400
        peer.say("event", seq=1, event={"type": "x"})
        peer.hear("event_ack")
        peer.finish()
