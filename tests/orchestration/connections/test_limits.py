"""Frames out of protocol, too many frames, and peers that do not read: each ends with its own code."""

from __future__ import annotations

import contextlib
import json
import socket
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from django.db import OperationalError

from accounts import projects
from ledger.models import Event
from mailbox import delivery
from mailbox.envelope import NewMessage
from orchestration import presence
from orchestration.connections import fencing
from tests.e2e.conformance.peer import announce
from tests.orchestration.connections.conftest import PATIENCE, Server, Spawn
from tests.threads import operations_have_ended
from tests.waiting import wait_until

LONE_SURROGATE = '{"kind":"event","seq":1,"event":{"type":"note","text":"\\ud800"}}'

HOSTILE = {
    "not JSON": "hello?",
    "nothing": "",
    "a list": "[]",
    "a word": '"run_ack"',
    "no kind": "{}",
    "a kind that is no word": '{"kind":7}',
    "NaN": '{"kind":"event","seq":1,"event":{"type":"note","n":NaN}}',
    "infinity": '{"kind":"event","seq":1,"event":{"type":"note","n":-Infinity}}',
    "beyond a double": '{"kind":"event","seq":1,"event":{"type":"note","n":1e999}}',
    "NUL": '{"kind":"event","seq":1,"event":{"type":"note","text":"a\\u0000b"}}',
    "NUL in a key": '{"kind":"event","seq":1,"event":{"type":"note","a\\u0000b":1}}',
    "a lone surrogate": LONE_SURROGATE,
    "a key twice": '{"kind":"event","seq":1,"event":{"type":"note","a":1,"a":2}}',
    "a key twice at the top": '{"kind":"run_ack","kind":"terminal","status":"completed"}',
    "65 levels": '{"kind":"event","seq":1,"event":{"type":"note","n":' + "[" * 65 + "]" * 65 + "}}",
    "100,000 levels": "[" * 100_000,
    "10,001 keys": json.dumps(
        {"kind": "event", "seq": 1, "event": {"type": "note", **{str(key): 0 for key in range(10_001)}}}
    ),
    "too many digits": '{"kind":"event","seq":1,"event":{"type":"note","n":' + "9" * 5000 + "}}",
    "seq of the wrong type": '{"kind":"event","seq":"1","event":{"type":"note"}}',
    "seq zero": '{"kind":"event","seq":0,"event":{"type":"note"}}',
    "seq is true": '{"kind":"event","seq":true,"event":{"type":"note"}}',
    "an event without type": '{"kind":"event","seq":1,"event":{}}',
    "a type too long for the feed": '{"kind":"event","seq":1,"event":{"type":"' + "x" * 201 + '"}}',
    "a status of its own": '{"kind":"terminal","status":"timeout"}',
    "a state of its own": '{"kind":"approval_ack","id":"a","state":"approved"}',
}


@pytest.mark.parametrize("frame", HOSTILE.values(), ids=HOSTILE)
def test_what_is_not_the_protocol_is_4400_and_stores_nothing(server: Server, child: Spawn, frame: str) -> None:
    with server.child(child) as peer:
        peer.socket.send(frame)
        assert peer.code() == 4400
    assert not Event.objects.filter(session=child.id, source="child").exists()
    assert child.session.status == "running"


@pytest.mark.parametrize("frame", [HOSTILE["NaN"], HOSTILE["a key twice"], LONE_SURROGATE])
def test_a_plain_child_is_held_to_the_same(server: Server, child: Spawn, frame: str) -> None:
    with server.plain(child) as peer:
        peer.hear("run")
        peer.socket.send(frame)
        assert peer.code() == 4400


def test_a_binary_frame_is_4400(server: Server, child: Spawn) -> None:
    with server.child(child) as peer:
        peer.socket.send(b'{"kind":"run_ack"}')
        assert peer.code() == 4400


def test_an_unknown_kind_is_answered_and_ignored(server: Server, child: Spawn) -> None:
    with server.child(child) as peer:
        for kind in ("dance", "welcome", "k" * 5000):
            peer.say(kind)
            error = peer.hear("error")
            assert (error["code"], error["ref"]) == ("unknown-kind", kind[:64])
        peer.say("event", seq=1, event={"type": "note"}, unknown_field={"is": "ignored"})
        assert peer.hear("event_ack")["seq"] == 1


def test_a_second_hello_is_refused_and_the_connection_stays(server: Server, child: Spawn) -> None:
    with server.child(child) as peer:
        peer.say("hello", attempt=1)
        assert peer.hear("error")["ref"] == "hello"
        peer.say("event", seq=1, event={"type": "note"})
        peer.hear("event_ack")


def test_what_came_before_a_bad_frame_is_kept(server: Server, child: Spawn) -> None:
    with server.child(child) as peer:
        peer.say("event", seq=1, event={"type": "note"})
        peer.socket.send("nonsense")
        peer.hear("event_ack")
        assert peer.code() == 4400
    assert child.attempt().acked_event_seq == 1


def test_a_reason_is_cut_to_what_a_close_can_carry(server: Server, child: Spawn) -> None:
    with server.child(child) as peer:
        peer.say("terminal", status="é" * 500)
        code, reason = peer.end()
        assert code == 4400
        assert 0 < len(reason.encode()) <= 123


# --- too much -----------------------------------------------------------------------------------------------


def sized(count: int) -> str:
    """An event frame of exactly so many bytes."""
    frame = '{"kind":"event","seq":1,"event":{"type":"note","text":"%s"}}'
    return frame % ("x" * (count - len(frame) + 2))


def test_a_frame_at_the_limit_is_taken(server: Server, child: Spawn) -> None:
    with server.child(child) as peer:
        peer.socket.send(sized(1024 * 1024))
        assert peer.hear("event_ack")["seq"] == 1


def test_a_frame_over_the_limit_is_4413(server: Server, child: Spawn) -> None:
    with server.child(child) as peer:
        peer.socket.send(sized(1024 * 1024 + 1))
        assert peer.code() == 4413
    assert child.attempt().acked_event_seq == 0


def test_the_limit_counts_bytes_not_characters(server: Server, child: Spawn) -> None:
    with server.child(child) as peer:
        text = "é" * (600 * 1024)
        peer.socket.send(json.dumps({"kind": "event", "seq": 1, "event": {"type": "t", "x": text}}, ensure_ascii=False))
        assert peer.code() == 4413


def test_a_frame_over_the_ceiling_is_1009(server: Server, child: Spawn) -> None:
    with server.child(child) as peer:
        announce(peer.socket, 2 * 1024 * 1024 + 1)
        assert peer.code() == 1009


@pytest.mark.parametrize("dialect", ["v1", "plain"])
def test_too_many_frames_are_4429_and_the_reason_says_for_how_long(
    server: Server, child: Spawn, timings: Callable[..., None], dialect: str
) -> None:
    timings(max_frames_per_10_secs=20)
    with server.child(child) if dialect == "v1" else server.plain(child) as peer:
        for _ in range(50):
            peer.say("unheard-of")
        code, reason = peer.end()
        assert code == 4429
        assert any(word.isdigit() for word in reason.split())


def test_a_peer_that_does_not_read_is_dropped(server: Server, child: Spawn, timings: Callable[..., None]) -> None:
    timings(send_timeout_secs=0.5)
    large = NewMessage(message_kind="task", body={"text": "x" * 200_000})
    for _ in range(60):
        delivery.deliver(projects.default().pk, child.session.address, [large])
    with contextlib.closing(_deaf(server, child)):
        wait_until(lambda: child.attempt().connection_lost_at, PATIENCE)
        wait_until(lambda: not server.connections(), PATIENCE)


def _deaf(server: Server, child: Spawn) -> socket.socket:
    """A socket by hand, with hello said and nothing ever read again."""
    connection = socket.create_connection(("127.0.0.1", server.port))
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    connection.sendall(
        f"GET /ws/children/{child.id} HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n"
        f"Sec-WebSocket-Protocol: wardroom.v1\r\nAuthorization: Bearer {child.token}\r\n\r\n".encode()
    )
    assert b"101" in connection.recv(4096)
    connection.sendall(_masked(b'{"kind":"hello","attempt":1}'))
    wait_until(lambda: child.attempt().connection == 1)
    return connection


def _masked(payload: bytes) -> bytes:
    """A client's text frame with a mask of zeros."""
    size = len(payload)
    length = bytes([0x80 | size]) if size < 126 else bytes([0x80 | 126]) + size.to_bytes(2, "big")
    return b"\x81" + length + b"\0\0\0\0" + payload


def test_a_server_that_fails_lets_the_child_come_back(
    server: Server, child: Spawn, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*args: Any, **kwargs: Any) -> None:
        raise RuntimeError("a bug")

    with server.child(child) as peer:
        monkeypatch.setattr("orchestration.connections.events._advance", broken)
        peer.say("event", seq=1, event={"type": "note"})
        assert peer.code() == 1011
    monkeypatch.undo()
    with server.child(child, run=False) as peer:
        peer.say("event", seq=1, event={"type": "note"})
        assert peer.hear("event_ack")["seq"] == 1


def test_a_database_that_does_not_answer_is_1013_at_the_door(
    server: Server, child: Spawn, monkeypatch: pytest.MonkeyPatch
) -> None:
    def down(*args: Any, **kwargs: Any) -> None:
        raise OperationalError("no connection")

    monkeypatch.setattr("accounts.bulk_authentication.recognise_all", down)
    with server.knock(child) as peer:
        assert peer.code() == 1013


def test_a_quiet_connection_outlives_a_database_that_does_not_answer(
    server: Server, child: Spawn, monkeypatch: pytest.MonkeyPatch, timings: Callable[..., None]
) -> None:
    looked: list[int] = []

    def down(*args: Any, **kwargs: Any) -> None:
        looked.append(1)
        raise OperationalError("no connection")

    timings(connection_poll_secs=0.05)
    with server.child(child) as peer:
        with monkeypatch.context() as patch:
            patch.setattr("orchestration.connections.outgoing.check", down)
            wait_until(lambda: len(looked) > 3)
        peer.say("event", seq=1, event={"type": "note"})
        assert peer.hear("event_ack")["seq"] == 1


def test_the_end_of_a_connection_is_noted_however_often_the_database_does_not_answer(
    server: Server, child: Spawn, monkeypatch: pytest.MonkeyPatch, timings: Callable[..., None]
) -> None:
    tried: list[int] = []

    def reluctant(*args: Any, **kwargs: Any) -> bool:
        tried.append(1)
        if len(tried) < 3:
            raise OperationalError("no connection")
        return fencing.disconnect(*args, **kwargs)

    timings(heartbeat_secs=0.05)
    monkeypatch.setattr("orchestration.connections.connection.disconnect", reluctant)
    with server.child(child) as peer:
        peer.drop()
        wait_until(lambda: child.attempt().connection_lost_at)
    assert len(tried) == 3


@pytest.fixture
def hasty(transactional_db: None) -> Iterator[Server]:
    """A server that asks for a sign of life every second, and has a second of patience: machines are busy."""
    server = Server(ping_secs=1).start()
    yield server
    server.stop()
    operations_have_ended()
    presence.end()


def test_a_ping_without_an_answer_is_1011(hasty: Server, child: Spawn) -> None:
    with contextlib.closing(_deaf(hasty, child)) as connection:
        connection.settimeout(PATIENCE)
        heard = b"".join(iter(lambda: connection.recv(65536), b""))
        assert b"\x03\xf3keepalive ping timeout" in heard
        wait_until(lambda: child.attempt().connection_lost_at)


def test_pings_that_are_answered_keep_a_quiet_connection_open(hasty: Server, child: Spawn) -> None:
    with hasty.child(child) as peer:
        assert peer.silent(3.5)
        peer.say("event", seq=1, event={"type": "note"})
        assert peer.hear("event_ack")["seq"] == 1


def test_a_last_word_that_is_hard_to_carry_is_taken(server: Server) -> None:
    """A result of control characters takes six times its size in a message; an error has the frame's bound alone."""
    parent = Spawn()
    child = Spawn(parent=parent.id)
    with server.child(child) as peer:
        peer.say("terminal", status="error", result="\x01" * (128 * 1024), error="x" * 100_000)
        peer.hear("terminal_ack")
    assert (child.session.status, child.session.result) == ("error", "\x01" * (128 * 1024))
    assert len(child.session.error or "") == 16 * 1024
    with server.child(parent) as peer:
        told = peer.hear("message")
        assert told["body"]["result_cut"] is True
        assert told["body"]["child_session_id"] == str(child.id)
