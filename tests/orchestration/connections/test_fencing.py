"""One live connection per session: a newer one replaces an older one, and an old one changes nothing."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from accounts import credentials, projects
from accounts.actors import Actor
from accounts.models import Credential
from core.db import sql
from ledger.models import Event
from orchestration.connections import events, fencing
from orchestration.connections.fencing import Claim, ConnectionRejected, Principal
from orchestration.sessions import cancel, lifecycle, transitions
from orchestration.states import Status
from tests.orchestration.connections.conftest import TESTS, Peer, Server, Spawn
from tests.waiting import wait_until


def held(child: Spawn, **options: Any) -> Claim:
    caller = fencing.authenticate(child.token, str(child.id))
    return fencing.claim(caller, **options)


def note(seq: int = 1) -> list[events.Numbered]:
    return [events.Numbered(seq, {"type": "note"})]


# --- by the operations -------------------------------------------------------------------------------------------


def test_a_newer_connection_has_a_greater_number(child: Spawn) -> None:
    assert [held(child).number for _ in range(3)] == [1, 2, 3]


def test_an_older_connection_can_do_nothing(child: Spawn) -> None:
    older, newer = held(child), held(child)
    with pytest.raises(ConnectionRejected) as refusal:
        events.accept(older, note())
    assert refusal.value.code == 4409
    assert events.accept(newer, note()) == 1
    assert Event.objects.filter(session=child.id, source="child").count() == 1


def test_the_clean_up_of_an_older_connection_touches_nothing(child: Spawn) -> None:
    older, newer = held(child), held(child)
    assert fencing.disconnect(older) is False
    assert child.attempt().connection_lost_at is None
    assert fencing.disconnect(newer) is True
    assert child.attempt().connection_lost_at is not None


def test_an_attempt_that_is_over_can_do_nothing(child: Spawn) -> None:
    mine = held(child)
    lifecycle.finish(child.id, 1, Status.ERROR, error="enough")
    with pytest.raises(ConnectionRejected) as refusal:
        events.accept(mine, note())
    assert refusal.value.code == 4410
    assert fencing.disconnect(mine) is False


@pytest.mark.parametrize("early", [True, False])
@pytest.mark.parametrize(("end", "code"), [("ended", 4410), ("replaced", 4409)])
def test_a_connection_that_looks_while_its_attempt_ends_is_told_of_the_end_and_not_of_its_token(
    child: Spawn, monkeypatch: pytest.MonkeyPatch, end: str, code: int, early: bool
) -> None:
    """The end of an attempt is the end of its token as well: one commit, which comes between two looks."""
    mine, read = held(child), sql.run_prepared

    def commit() -> None:
        if end == "ended":
            lifecycle.finish(child.id, 1, Status.TIMEOUT, error="too long")
        else:
            transitions.requeue(child.id, 1, "once more")

    def beside(*query: Any) -> list[sql.Row]:
        monkeypatch.undo()
        if early:
            commit()
        found = read(*query)
        if not early:
            commit()
        return found

    monkeypatch.setattr(sql, "run_prepared", beside)
    with pytest.raises(ConnectionRejected) as refusal:
        fencing.check(mine)
        fencing.check(mine)  # What came just after the first look is seen by the next.
    assert refusal.value.code == code


def test_an_attempt_that_was_replaced_can_do_nothing(child: Spawn) -> None:
    mine = held(child)
    transitions.requeue(child.id, 1, "once more")
    with pytest.raises(ConnectionRejected) as refusal:
        events.accept(mine, note())
    assert refusal.value.code == 4409


def test_a_claim_that_comes_after_the_end_is_4410(child: Spawn) -> None:
    caller = fencing.authenticate(child.token, str(child.id))
    lifecycle.started(child.id, 1)
    lifecycle.finish(child.id, 1, Status.COMPLETED)
    with pytest.raises(ConnectionRejected) as refusal:
        fencing.claim(caller)
    assert refusal.value.code == 4410
    assert child.attempt().connection == 0


def test_a_dead_token_can_do_nothing(child: Spawn) -> None:
    mine = held(child)
    Credential.objects.filter(subject=str(child.id)).update(ended_at="2020-01-01T00:00:00Z")
    with pytest.raises(ConnectionRejected) as refusal:
        events.accept(mine, note())
    assert refusal.value.code == 4401
    assert not Event.objects.filter(session=child.id, source="child").exists()


def test_however_many_claim_at_once_one_holds_the_connection(child: Spawn) -> None:
    caller: Principal = fencing.authenticate(child.token, str(child.id))
    barrier = threading.Barrier(8)

    def claim(_: int) -> Claim:
        from django.db import connections

        barrier.wait()
        try:
            return fencing.claim(caller)
        finally:
            connections.close_all()

    with ThreadPoolExecutor(8) as pool:
        connections = list(pool.map(claim, range(8)))
    assert sorted(each.number for each in connections) == list(range(1, 9))
    able = 0
    for each in connections:
        try:
            events.accept(each, note(each.number))
            able += 1
        except ConnectionRejected as refusal:
            assert refusal.code == 4409
    assert able == 1


# --- over sockets -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dialect", ["v1", "plain"])
def test_a_newer_connection_replaces_the_older(server: Server, child: Spawn, dialect: str) -> None:
    def connect() -> Peer:
        peer = server.child(child, run=False) if dialect == "v1" else server.plain(child)
        peer.hear("run")  # Now it holds the connection.
        return peer

    with connect() as older, connect() as newer:
        assert older.code() == 4409
        if dialect == "v1":
            newer.say("event", seq=1, event={"type": "note"})
            assert newer.hear("event_ack")["seq"] == 1
        wait_until(lambda: child.attempt().connection == 2)
        assert child.attempt().connection_lost_at is None


def test_the_connection_of_a_killed_child_is_lost_and_found(server: Server, child: Spawn) -> None:
    peer = server.child(child)
    peer.drop()
    wait_until(lambda: child.attempt().connection_lost_at)
    assert child.session.status == Status.RUNNING
    with server.child(child, run=False):
        assert child.attempt().connection_lost_at is None


def test_a_newer_attempt_ends_the_connection_with_4409(server: Server, child: Spawn) -> None:
    with server.child(child) as peer:
        transitions.requeue(child.id, 1, "once more")
        assert peer.code() == 4409


def test_the_end_of_the_attempt_ends_the_connection_with_4410(server: Server, child: Spawn) -> None:
    with server.child(child) as peer:
        lifecycle.finish(child.id, 1, Status.ERROR, error="enough")
        assert peer.code() == 4410


def test_a_verdict_is_told_before_the_connection_ends(server: Server, child: Spawn) -> None:
    with server.child(child) as peer:
        lifecycle.finish(child.id, 1, Status.TIMEOUT, error="Child session timed out")
        assert peer.hear("cancel")["reason"] == "Child session timed out"
        assert peer.code() == 4410


def test_a_late_terminal_changes_nothing(server: Server, child: Spawn, monkeypatch: pytest.MonkeyPatch) -> None:
    with server.child(child) as peer:
        monkeypatch.setattr("orchestration.connections.outgoing.urgent", lambda *args: [])
        lifecycle.finish(child.id, 1, Status.TIMEOUT, error="too long")
        peer.say("terminal", status="completed", result="made it")
        assert peer.code() == 4410
    assert (child.session.status, child.session.result) == (Status.TIMEOUT, None)


def test_a_revoked_token_ends_the_connection_within_the_poll(
    server: Server, child: Spawn, timings: Callable[..., None]
) -> None:
    timings(connection_poll_secs=0.5)
    with server.child(child) as peer:
        credentials.end_for_attempt(projects.default().pk, str(child.id), 1)
        assert peer.code() == 4401


def test_a_session_cancelled_after_its_grace_ends_the_connection(server: Server, child: Spawn) -> None:
    with server.child(child) as peer:
        cancel.cancel(projects.default(), child.id, "changed my mind", Actor.system("tests"))
        assert peer.hear("cancel")["reason"] == "changed my mind"
        lifecycle.finish(child.id, 1, Status.CANCELLED, error="changed my mind")
        assert peer.code() == 4410


def test_a_connection_sees_its_token_replaced(server: Server, child: Spawn, timings: Callable[..., None]) -> None:
    from orchestration.sessions import spawn

    timings(connection_poll_secs=60)  # Out of reach: it is woken.
    with server.child(child) as peer:
        spawn.fresh_token(projects.default(), child.id, TESTS)
        assert peer.code() == 4401
