"""The reports of admitted messages: no event overtakes them, so an acknowledged event confirms those before it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from wardroom import protocol
from wardroom.admitted import AdmittedSet
from wardroom.admitted.admissions import Admissions
from wardroom.identity import Identity
from wardroom.protocol import EventAck, EventFrame, Frame, Message, MessageAdmitted, RunAck, Welcome
from wardroom.wire import Wire

pytestmark = pytest.mark.once

RUN = """{"kind": "run", "assignment": "x", "attempt": 1, "role": null, "disabled_tools": [], "messages": [],
 "session": {"session_id": "s1", "root_session_id": "s1", "depth": 0},
 "limits": {"max_total_secs": 60, "max_idle_secs": 60}}"""
MESSAGE = Message(id="a", message_kind="task", text="a", body="a", created_at="2026-01-01T00:00:00Z")


def welcome(acked: int) -> Welcome:
    limits = protocol.ConnectionLimits(max_frame_bytes=2**20, max_unacked_events=256)
    return Welcome(
        session_id="s1",
        attempt=1,
        acked_event_seq=acked,
        transcript_next=0,
        limits=limits,
        ping_secs=20,
        server_time="2026-01-01T00:00:00Z",
    )


def begun(folder: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Wire, list[Frame]]:
    """A child that has its run, and the frames that it sends."""
    wire = Wire(Identity("http://w", "s1", 1, "t"), Admissions.kept_in(folder, "s1", AdmittedSet()), "test", 60)
    sent: list[Frame] = []
    monkeypatch.setattr(wire.connection, "send", lambda *frames: sent.extend(frames))
    assert list(wire._opened(welcome(0))) == []
    wire._arrived(protocol.decode_server(RUN))
    return wire, sent


def admitted(wire: Wire) -> list[Any]:
    wire._arrived(MESSAGE)
    return [message.id for message in wire.checkpoint()]


def test_a_new_connection_begins_with_the_reports_and_then_the_events(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    wire, _ = begun(tmp_path, monkeypatch)
    assert admitted(wire) == ["a"]
    wire.event({"type": "note"})
    again = list(wire._opened(welcome(0)))
    assert again[0] == MessageAdmitted(ids=["a"])
    assert isinstance(again[1], EventFrame)
    wire._arrived(EventAck(seq=1))
    assert wire.admissions.unconfirmed == []
    assert list(wire._opened(welcome(1))) == []


def test_a_welcome_confirms_what_an_event_of_the_last_connection_followed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    wire, _ = begun(tmp_path, monkeypatch)
    assert admitted(wire) == ["a"]
    wire.event({"type": "note"})
    assert list(wire._opened(welcome(1))) == []
    assert wire.admissions.unconfirmed == []


def test_a_restarted_child_reports_before_anything_else(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert admitted(begun(tmp_path, monkeypatch)[0]) == ["a"]
    wire, sent = begun(tmp_path, monkeypatch)
    assert sent == [MessageAdmitted(ids=["a"]), RunAck()]
    assert wire.run is not None
    assert [entry["id"] for entry in wire.run.messages] == ["a"]
    assert admitted(wire) == []
