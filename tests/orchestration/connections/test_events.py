"""Events of a child: durable ones once and acknowledged after commit, the latest snapshot, the rest passed on."""

from __future__ import annotations

import json
import threading
import uuid
from collections.abc import Callable
from typing import Any

import httpx
import pytest

from core.concurrency import threadpool
from ledger import ephemeral_events, unit_of_work
from ledger.models import AuditEntry, Event
from orchestration.connections import events as connection_events
from orchestration.models import Snapshot
from tests.orchestration.connections.conftest import PATIENCE, Server, Spawn
from tests.waiting import wait_until


def told(child: Spawn) -> list[tuple[int, str]]:
    rows = Event.objects.filter(session=child.id, source="child").order_by("cursor")
    return [(row.seq or 0, row.type) for row in rows]


def test_a_durable_event_is_in_the_feed_once_however_often_it_is_sent(server: Server, child: Spawn) -> None:
    with server.child(child) as peer:
        for _ in range(3):
            peer.say("event", seq=1, event={"type": "note", "text": "first"})
            assert peer.hear("event_ack")["seq"] == 1
        peer.say("event", seq=2, event={"type": "note"})
        assert peer.hear("event_ack")["seq"] == 2
    assert told(child) == [(1, "note"), (2, "note")]
    assert Event.objects.get(session=child.id, seq=1).payload == {"text": "first"}


def test_a_reconnect_goes_on_from_what_is_acknowledged(server: Server, child: Spawn) -> None:
    with server.child(child) as peer:
        peer.say("event_batch", first_seq=1, last_seq=3, qos="durable", events=[{"type": "note"}] * 3)
        assert peer.hear("event_ack")["seq"] == 3
    with server.child(child, run=False) as peer:
        assert peer.welcome["acked_event_seq"] == 3  # type: ignore[attr-defined]
        peer.say("event_batch", first_seq=2, last_seq=5, qos="durable", events=[{"type": "note"}] * 4)
        assert peer.hear_until("event_ack")["seq"] == 5
    assert [seq for seq, _ in told(child)] == [1, 2, 3, 4, 5]


def test_a_gap_is_no_fault(server: Server, child: Spawn) -> None:
    with server.child(child) as peer:
        peer.say("event", seq=7, event={"type": "note"})
        assert peer.hear("event_ack")["seq"] == 7


def test_an_unknown_type_is_durable(server: Server, child: Spawn) -> None:
    with server.child(child) as peer:
        peer.say("event", seq=1, event={"type": "never_heard_of", "deep": {"er": [1, None]}})
        peer.hear("event_ack")
    assert told(child) == [(1, "never_heard_of")]


def test_an_acknowledgement_comes_after_the_commit(
    server: Server, child: Spawn, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*args: Any, **kwargs: Any) -> None:
        raise RuntimeError("the commit fails")

    with server.child(child) as peer:
        peer.say("event", seq=1, event={"type": "note"})
        peer.hear("event_ack")
        monkeypatch.setattr("ledger.store.entries.write", refuse)
        peer.say("event", seq=2, event={"type": "note"})
        assert peer.end(silently=True)[0] == 1011
        monkeypatch.undo()
    with server.child(child, run=False) as peer:
        assert peer.welcome["acked_event_seq"] == 1  # type: ignore[attr-defined]


def test_a_batch_is_one_transaction(server: Server, child: Spawn, monkeypatch: pytest.MonkeyPatch) -> None:
    opened: list[int] = []
    outermost = unit_of_work._outermost
    monkeypatch.setattr(unit_of_work, "_outermost", lambda: opened.append(1) or outermost())
    with server.child(child) as peer:
        peer.say("event", seq=1, event={"type": "note"})
        peer.hear("event_ack")
        opened.clear()
        peer.say("event_batch", first_seq=2, last_seq=65, qos="durable", events=[{"type": "note"}] * 64)
        assert peer.hear("event_ack")["seq"] == 65
        assert len(opened) == 1


def test_events_that_wait_are_committed_together_in_order(
    server: Server, child: Spawn, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun, free = threading.Event(), threading.Event()
    sizes: list[int] = []
    accept = connection_events.accept

    def slow(connection: Any, events: Any, **kwargs: Any) -> int:
        begun.set()
        assert free.wait(60)
        sizes.append(len(events))
        return accept(connection, events, **kwargs)

    with server.child(child) as peer:
        monkeypatch.setattr(connection_events, "accept", slow)
        peer.say("event", seq=1, event={"type": "note"})
        assert begun.wait(PATIENCE)
        for seq in range(2, 21):
            peer.say("event", seq=seq, event={"type": "token" if seq % 2 else "note"})
        assert peer.socket.ping().wait(PATIENCE)  # The server has read what came before.
        free.set()
        while peer.hear("event_ack")["seq"] < 20:
            pass
    assert sum(sizes) == 11
    assert len(sizes) < 6
    assert [seq for seq, _ in told(child)] == [1, *range(2, 21, 2)]


def test_of_a_snapshot_the_latest_is_kept_and_none_is_in_the_feed(server: Server, child: Spawn) -> None:
    with server.child(child) as peer:
        for seq, percent in enumerate((10, 60, 30), 1):
            peer.say("event", seq=seq, event={"type": "runner_progress", "percent": percent})
            peer.hear("event_ack")
    assert [(row.type, row.payload) for row in Snapshot.objects.filter(session=child.id)] == [
        ("runner_progress", {"percent": 30})
    ]
    assert told(child) == []


def test_ephemeral_events_are_never_stored_but_count_as_life(server: Server, child: Spawn) -> None:
    with server.child(child) as peer:
        peer.say("event_batch", first_seq=1, last_seq=2, qos="ephemeral", events=[{"type": "token", "text": "a"}] * 2)
        wait_until(lambda: child.attempt().last_event_at)
        peer.say("event", seq=3, event={"type": "note"})
        assert peer.hear("event_ack")["seq"] == 3
    assert told(child) == [(3, "note")]


async def test_whoever_watches_sees_what_passes_by() -> None:
    session = uuid.uuid4()
    woken: list[int] = []
    async with ephemeral_events.watch(session, lambda: woken.append(1)) as passing:
        ephemeral_events.show(session, {"type": "token"})
        assert (passing.take(), passing.take(), woken) == ([b'{"type":"token"}'], [], [1])
        for number in range(ephemeral_events.BACKLOG + 10):
            ephemeral_events.show(session, {"n": number})
        assert len(passing.take()) == ephemeral_events.BACKLOG
    ephemeral_events.show(session, {"type": "nobody"})
    assert session not in ephemeral_events._watchers


def test_what_wardroom_reads_moves_the_session(server: Server, child: Spawn) -> None:
    with server.child(child) as peer:
        peer.say("event", seq=1, event={"type": "round_started", "round": 4})
        peer.say("event", seq=2, event={"type": "tool_started", "tool_name": "shell"})
        peer.say("event", seq=3, event={"type": "round_started", "round": "x"})
        peer.say("event", seq=4, event={"type": "tool_started", "tool_name": ["no"]})
        wait_until(lambda: child.attempt().acked_event_seq == 4)
    session = child.session
    assert (session.rounds, session.last_tool) == (4, "shell")
    assert session.last_event_at is not None


def test_an_unknown_outcome_is_in_the_audit_chain_once(server: Server, child: Spawn) -> None:
    body = {"tool_name": "shell", "permission": "shell.run", "resource": "host", "arguments": {"command": "ls"}}
    with server.child(child) as peer:
        peer.say("approval_request", id="req-1", body=body)
        peer.hear("approval_registered")
        for _ in range(2):
            event = {"type": "unknown_outcome", "approval": "req-1", "detail": "killed while it ran"}
            peer.say("event", seq=1, event=event)
            peer.hear("event_ack")
        peer.say("event", seq=2, event={"type": "unknown_outcome", "approval": 7})
        peer.hear("event_ack")
    (entry,) = AuditEntry.objects.filter(action="approval.unknown_outcome")
    assert (entry.subject, entry.actor) == ("req-1", f"child:{child.id}/1")
    assert "killed while it ran" in entry.detail


def test_a_child_cannot_forge_an_event_of_wardroom(server: Server, child: Spawn) -> None:
    with server.child(child) as peer:
        peer.say("event", seq=1, event={"type": "session_completed", "status": "completed"})
        peer.hear("event_ack")
    assert Event.objects.get(session=child.id, seq=1).source == "child"
    assert child.session.status == "running"


@pytest.mark.parametrize(
    "batch",
    [
        {"first_seq": 1, "last_seq": 3, "qos": "durable", "events": [{"type": "note"}] * 2},
        {"first_seq": 1, "last_seq": 1, "qos": "ephemeral", "events": [{"type": "note"}]},
        {"first_seq": 1, "last_seq": 0, "qos": "durable", "events": []},
        {"first_seq": 1, "last_seq": 65, "qos": "durable", "events": [{"type": "note"}] * 65},
        {"first_seq": 0, "last_seq": 0, "qos": "durable", "events": [{"type": "note"}]},
    ],
)
def test_a_batch_that_contradicts_itself_is_4400(server: Server, child: Spawn, batch: dict[str, Any]) -> None:
    with server.child(child) as peer:
        peer.say("event_batch", **batch)
        assert peer.code() == 4400
    assert told(child) == []


def test_a_slow_verb_does_not_stop_the_pongs(
    server: Server, child: Spawn, monkeypatch: pytest.MonkeyPatch, timings: Callable[..., None]
) -> None:
    held, free = threading.Event(), threading.Event()
    accept = threadpool._clean

    def slow(operation: Any, *args: Any, **kwargs: Any) -> Any:
        if getattr(operation, "__name__", "") == "accept":
            held.set()
            assert free.wait(60)  # Longer than anybody waits for a pong.
        return accept(operation, *args, **kwargs)

    with server.child(child) as peer:
        monkeypatch.setattr(threadpool, "_clean", slow)
        peer.say("event", seq=1, event={"type": "note"})
        assert held.wait(PATIENCE)
        for _ in range(5):  # More than one frame waits, and the server still reads.
            peer.say("event", seq=2, event={"type": "note"})
        assert peer.socket.ping().wait(PATIENCE)
        free.set()
        assert peer.hear("event_ack")["seq"] == 1


def test_a_stream_of_the_session_shows_what_passes_by(server: Server, child: Spawn) -> None:
    headers = {"Authorization": f"Bearer {child.token}", "Host": "testserver", "Accept": "text/event-stream"}
    address = f"http://127.0.0.1:{server.port}/api/v1/sessions/{child.id}/events"
    with server.child(child) as peer, httpx.stream("GET", address, headers=headers, timeout=PATIENCE) as stream:
        lines = stream.iter_lines()
        assert next(line for line in lines if "session_running" in line)
        peer.say("event", seq=1, event={"type": "token", "text": "hel"})
        assert next(line for line in lines if line == "event: ephemeral")
        shown = json.loads(next(lines).removeprefix("data: "))
        assert (shown["type"], shown["payload"], shown["cursor"]) == ("token", {"text": "hel"}, None)
