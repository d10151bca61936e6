"""The stored rows of a child are bounded, and a full session can still end."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from accounts import projects
from core.web.problems import Problem
from ledger import quota, unit_of_work
from ledger.models import AuditEntry, Event, Kept
from orchestration.models import Session
from orchestration.sessions import spawn as session_spawn
from tests.orchestration.connections.conftest import TESTS, Peer, Server, Spawn
from tests.orchestration.connections.test_approvals import BODY

Timings = Callable[..., None]


def unknown(peer: Peer, seq: int, approval: Any) -> None:
    peer.say("event", seq=seq, event={"type": "unknown_outcome", "approval": approval, "detail": "x" * 5000})
    peer.hear("event_ack")


def test_an_unknown_outcome_is_audited_once_for_each_request_of_the_session_and_for_no_other(
    server: Server, spawn: Callable[..., Spawn]
) -> None:
    child, other = spawn(), spawn()
    with server.child(child) as peer, server.child(other) as stranger:
        peer.say("approval_request", id="mine", body=BODY)
        approval_id = peer.hear("approval_registered")["approval_id"]
        for seq, named in enumerate(("mine", "mine", "never asked", "m" * 5000, "", 7, None, ["mine"]), 1):
            unknown(peer, seq, named)
        unknown(stranger, 1, "mine")
    (entry,) = AuditEntry.objects.filter(action="approval.unknown_outcome")
    assert entry.subject == "mine"
    assert approval_id in entry.detail
    assert len(entry.detail) < 2500
    assert Event.objects.filter(type="unknown_outcome").count() == 9


FRAMES: dict[str, dict[str, Any]] = {
    "event": {"seq": 1, "event": {"type": "note"}},
    "transcript": {"first": 0, "items": [{"role": "user", "content": "hello"}]},
    "send": {"id": "one", "message_kind": "task", "body": "hello"},
    "approval_request": {"id": "one", "body": BODY},
}


@pytest.mark.parametrize("kind", FRAMES)
@pytest.mark.parametrize("bound", ["session_kept_rows", "session_kept_bytes"])
def test_a_session_that_is_full_has_nothing_more_kept_and_can_still_end(
    server: Server, child: Spawn, timings: Timings, kind: str, bound: str
) -> None:
    timings(**{bound: 0})
    with server.child(child) as peer:
        peer.say(kind, **FRAMES[kind], **({"to": str(child.id)} if kind == "send" else {}))
        assert peer.hear("error")["code"] == "too-many"
        peer.say("terminal", status="suspended")
        if bound == "session_kept_rows":
            assert peer.hear("error")["code"] == "too-many"
        peer.say("terminal", status="completed")
        peer.hear_until("terminal_ack")


def test_what_is_kept_is_counted_over_all_that_a_child_sends(server: Server, child: Spawn) -> None:
    with server.child(child) as peer:
        for seq in (1, 1, 2):
            peer.say("event", seq=seq, event={"type": "note"})
            peer.hear("event_ack")
        peer.say("transcript", **FRAMES["transcript"])
        peer.hear("transcript_ack")
        peer.say("approval_request", **FRAMES["approval_request"])
        peer.hear("approval_registered")
    kept = Kept.objects.get(pk=child.id)
    assert kept.rows == 4
    assert 50 < kept.bytes < 2000


@pytest.mark.django_db(transaction=True)
def test_the_last_row_that_fits_is_kept(timings: Timings) -> None:
    timings(session_kept_rows=3)
    child = Spawn()
    with unit_of_work.transaction():
        quota.keep(child.id, rows=2)
        quota.keep(child.id)
    with pytest.raises(Problem, match="3 rows"), unit_of_work.transaction():
        quota.keep(child.id)
    assert Kept.objects.get(pk=child.id).rows == 3


@pytest.mark.django_db(transaction=True)
def test_a_tree_has_so_many_sessions(timings: Timings) -> None:
    timings(sessions_per_tree=3)
    root = Spawn()
    for _ in range(2):
        Spawn(parent=root.id)
    with pytest.raises(Problem) as refusal:
        session_spawn.spawn(
            projects.default(), session_spawn.SpawnOrder(assignment="x", runner="external", parent=root.id), TESTS
        )
    assert refusal.value.status == 429
    assert Session.objects.count() == 3
