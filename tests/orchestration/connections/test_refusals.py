"""A value that cannot be stored is an `error` frame. It closes nothing and harms no other frame."""

from __future__ import annotations

import json
from typing import Any

import pytest
from django.db import DataError

from ledger.models import Event
from orchestration.connections import events as connection_events
from orchestration.connections import terminal
from orchestration.models import TranscriptItem
from orchestration.sessions import lifecycle
from tests.orchestration.connections.conftest import Peer, Server, Spawn

GOOD = {"role": "user", "content": "hello"}


def live(peer: Peer) -> bool:
    """Return True if the connection still answers."""
    peer.say("anything")
    return peer.hear_until("error")["code"] == "unknown-kind"


@pytest.mark.parametrize(
    "item", [{"role": "user", "content": None}, {"role": "user"}, {"role": "x" * 41, "content": ""}]
)
def test_an_item_that_cannot_be_kept_is_refused_with_its_frame(
    server: Server, child: Spawn, item: dict[str, Any]
) -> None:
    with server.child(child) as peer:
        peer.say("transcript", first=0, items=[GOOD, item])
        refusal = peer.hear("error")
        assert (refusal["code"], refusal["ref"]) == ("invalid", "transcript")
        assert refusal["detail"].startswith("items[1].")
        peer.say("transcript", first=0, items=[GOOD])
        assert peer.hear("transcript_ack")["next"] == 1
        peer.say("terminal", status="completed", transcript=[item])
        refusal = peer.hear("error")
        assert (refusal["code"], refusal["ref"]) == ("invalid", "terminal")
        assert child.session.status == "running"
        assert live(peer)
    assert TranscriptItem.objects.filter(session=child.id).count() == 1


@pytest.mark.parametrize("content", ["", 0, False, [], {}, [None]])
def test_content_that_is_empty_is_content(server: Server, child: Spawn, content: Any) -> None:
    with server.child(child) as peer:
        peer.say("transcript", first=0, items=[{"role": "user", "content": content}])
        assert peer.hear("transcript_ack")["next"] == 1
    assert TranscriptItem.objects.get(session=child.id).content == content


def test_the_same_number_twice_at_once_is_kept_and_acknowledged_once(server: Server, child: Spawn) -> None:
    frame = json.dumps({"kind": "event", "seq": 1, "event": {"type": "note"}})
    with server.child(child) as peer:
        for _ in range(20):
            peer.socket.send(frame)
        peer.say("event", seq=2, event={"type": "note"})
        while peer.hear("event_ack")["seq"] != 2:
            pass
        assert live(peer)
    assert Event.objects.filter(session=child.id, source="child").count() == 2


def test_the_same_number_twice_in_one_commit_is_kept_once(server: Server, child: Spawn) -> None:
    with server.child(child) as peer:
        connection = connection_of(child)
        event = connection_events.Numbered(1, {"type": "note"})
        assert connection_events.accept(connection, [event, event]) == 1
        assert live(peer)
    assert Event.objects.filter(session=child.id, source="child").count() == 1


def connection_of(child: Spawn) -> Any:
    from orchestration.connections.fencing import Claim, Principal

    attempt = child.attempt()
    return Claim(Principal(child.session.project_id, child.id, 1, child.token), attempt.connection)


def test_of_events_that_go_together_only_the_one_at_fault_is_refused(
    server: Server, child: Spawn, monkeypatch: pytest.MonkeyPatch
) -> None:
    keep = connection_events._keep

    def refusing(connection: Any, events: Any) -> int:
        if any(event.payload.get("bad") for event in events):
            raise DataError("a value that the database refuses")
        return keep(connection, events)

    monkeypatch.setattr(connection_events, "_keep", refusing)
    with server.child(child) as peer:
        for seq in range(1, 41):
            peer.say("event", seq=seq, event={"type": "note", "bad": seq == 20})
        told: list[Any] = []
        while not told or told[-1] != ("event_ack", 40):
            frame = json.loads(peer.socket.recv(timeout=15))
            told.append((frame["kind"], frame.get("seq")))
        assert [kind for kind, _ in told].count("error") == 1
    kept = Event.objects.filter(session=child.id, source="child").order_by("cursor")
    assert list(kept.values_list("seq", flat=True)) == [seq for seq in range(1, 41) if seq != 20]


@pytest.mark.parametrize("fault", [None, DataError("a value that the database refuses")])
def test_after_an_end_that_was_refused_the_connection_hears_of_an_end_that_another_wrote_at_once(
    server: Server, child: Spawn, monkeypatch: pytest.MonkeyPatch, fault: Exception | None
) -> None:
    if fault is not None:
        monkeypatch.setattr(terminal, "end", failing(fault))
    with server.child(child) as peer:
        peer.say("terminal", status="suspended", children=["not-an-id"])
        refusal = peer.hear("error")
        assert (refusal["code"], refusal["ref"]) == ("invalid", "terminal")
        lifecycle.finish(child.id, 1, "error", error="stopped by staff")
        # A connection that took its own end for written would give the worker `send_timeout_secs` to say so.
        assert peer.code(timeout=10) == 4410


def test_after_an_end_that_was_refused_the_child_may_end_properly(
    server: Server, child: Spawn, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patched:
        patched.setattr(terminal, "end", failing(DataError("a value that the database refuses")))
        with server.child(child) as peer:
            peer.say("terminal", status="suspended", children=["not-an-id"])
            peer.hear("error")
            patched.undo()
            peer.say("terminal", status="completed", result="done")
            assert peer.hear("terminal_ack")["status"] == "completed"
            assert peer.code() == 1000
    assert (child.session.status, child.session.result) == ("completed", "done")


def failing(fault: Exception) -> Any:
    def end(connection: Any, frame: Any) -> None:
        raise fault

    return end
