"""Store a child's events: durable ones once in the feed, snapshots as the latest of their type, others not at all."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from approvals.outcomes import bodies as outcome_bodies
from approvals.outcomes import reports, unknown
from core.db.clock import database_now
from ledger import quota, unit_of_work
from orchestration.connections.fencing import Claim, fenced_transaction
from orchestration.models import Attempt, Session, Snapshot
from wardroom.protocol import Event, EventBatch, EventFrame, PlainEvent, Qos, qos_of

TOOL_CHARACTERS = 200
DETAIL_CHARACTERS = 2000
MAX_ROUNDS = 2**31 - 1


@dataclass(frozen=True, slots=True)
class Numbered:
    """One event with its number in the attempt's sequence."""

    seq: int
    event: Event

    @property
    def type(self) -> str:
        return str(self.event["type"])

    def as_ephemeral(self, connection: Claim) -> dict[str, Any]:
        """Return an ephemeral event in the shape of a feed event. It has no cursor, because it is never in the feed."""
        where = {"session": str(connection.session_id), "attempt": connection.attempt, "seq": self.seq}
        return {"cursor": None, **where, "source": "child", "type": self.type, "payload": self.payload}

    @property
    def qos(self) -> Qos:
        """The class of the event: durable, snapshot or ephemeral."""
        return qos_of(self.type)

    @property
    def payload(self) -> dict[str, Any]:
        """All fields but the type, which has its own column."""
        return {key: value for key, value in self.event.items() if key != "type"}


def numbered(frames: Iterable[EventFrame | EventBatch | PlainEvent]) -> list[Numbered]:
    """Return the events of some frames with their numbers. The events of a plain child have no numbers yet (0)."""
    events: list[Numbered] = []
    for frame in frames:
        if isinstance(frame, PlainEvent):
            events.append(Numbered(0, frame.event))
        elif isinstance(frame, EventFrame):
            events.append(Numbered(frame.seq, frame.event))
        else:
            events += (Numbered(frame.first_seq + offset, event) for offset, event in enumerate(frame.events))
    return events


def accept(connection: Claim, events: Sequence[Numbered]) -> int:
    """Store the events in one transaction. Return the number up to which every durable event is committed.

    A durable event is new if its number is above the highest committed one: numbers grow within a connection, and after
    a reconnect the child continues from that number. An older event was sent again, and is acknowledged again.
    """
    with fenced_transaction(connection):
        return _keep(connection, events)


def accept_plain(connection: Claim, events: Sequence[Numbered]) -> int:
    """Number the events of a plain child and store them as `accept` does."""
    with fenced_transaction(connection):
        first = _acked(connection) + 1
        return _keep(connection, [Numbered(first + offset, each.event) for offset, each in enumerate(events)])


def touch(connection: Claim) -> None:
    """Record that the child is active, without storing an event."""
    with fenced_transaction(connection):
        _advance(connection, None, [])


def _acked(connection: Claim) -> int:
    return int(Attempt.objects.values_list("acked_event_seq", flat=True).get(**connection.row()))


def _keep(connection: Claim, events: Sequence[Numbered]) -> int:
    acked = _acked(connection)
    fresh = []
    for event in events:
        # The same number may come twice in one call as well as in two.
        if event.qos == "durable" and event.seq > acked:
            fresh.append(event)
            acked = event.seq
    if fresh:
        quota.keep(connection.session_id, *(event.event for event in fresh), rows=len(fresh))
    for event in fresh:
        unit_of_work.child_event(
            connection.project_id,
            event.type,
            event.payload,
            session=connection.session_id,
            attempt=connection.attempt,
            seq=event.seq,
        )
        match event.event:
            case {"type": "unknown_outcome", "approval": str(approval)}:
                # Staff are told of a tool that may have run and was not seen to end, if this session made the request.
                detail = str(event.event.get("detail") or "")[:DETAIL_CHARACTERS]
                probe = event.event.get("probe")
                # One that is too large to show is left out.
                is_shown = isinstance(probe, dict) and not outcome_bodies.too_large(probe)
                unknown.note(connection.session_id, approval, detail, probe if is_shown else None)
    if finished := [found for event in fresh if (found := _finished(event.event))]:
        reports.tools_finished(connection.session_id, connection.attempt, finished)
    for event in {event.type: event for event in events if event.qos == "snapshot"}.values():
        Snapshot.objects.update_or_create(
            session_id=connection.session_id,
            type=event.type,
            defaults={
                "attempt": connection.attempt,
                "seq": event.seq,
                "payload": event.payload,
                "at": database_now(),
            },
        )
    _advance(connection, acked, fresh)
    return acked


def _finished(event: Event) -> reports.Finished | None:
    """Return the report of an ended tool. A value of the wrong type is no report."""
    match event:
        case {"type": "tool_finished", "tool_name": str(name), "ok": bool(ok)}:
            approval, detail = event.get("approval"), event.get("detail")
            return reports.Finished(
                name,
                ok,
                approval if isinstance(approval, str) else None,
                detail[:DETAIL_CHARACTERS] if isinstance(detail, str) else None,
            )
    return None


def _advance(connection: Claim, acked: int | None, fresh: Sequence[Numbered]) -> None:
    """Update the attempt and the session: the last event time, the acknowledged number, the round and the last tool."""
    at = database_now()
    Attempt.objects.filter(**connection.row()).update(
        last_event_at=at, **({} if acked is None else {"acked_event_seq": acked})
    )
    columns: dict[str, Any] = {}
    for event in fresh:
        match event.event:  # A value of the wrong type is ignored.
            case {"type": "round_started", "round": int(number)} if type(number) is int and 0 <= number <= MAX_ROUNDS:
                columns["rounds"] = number
            case {"type": "tool_started", "tool_name": str(name)}:
                columns["last_tool"] = name[:TOOL_CHARACTERS]
    Session.objects.filter(pk=connection.session_id).update(last_event_at=at, **columns)
