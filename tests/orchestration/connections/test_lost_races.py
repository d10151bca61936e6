"""An operation that loses a race for a unique row runs once more: nothing is wrong with the child's frame."""

from __future__ import annotations

import threading
import uuid
from collections.abc import Iterator
from typing import Any

import psycopg
import pytest
from django.db import IntegrityError, connection

from accounts import projects
from core.db import sql
from ledger.models import Event, Kept
from tests.orchestration.connections.conftest import Peer, Server, Spawn
from tests.waiting import wait_until


@pytest.fixture
def rivals(backend: str, transactional_db: None) -> Iterator[tuple[Any, Any]]:
    """Two more connections to the database."""
    if backend != "postgres":
        pytest.skip("SQLite has one writer at a time")
    connection.ensure_connection()
    params = {**connection.get_connection_params(), "cursor_factory": None}
    wanted = {name: params[name] for name in ("dbname", "user", "password", "host", "port") if params.get(name)}
    with psycopg.connect(**wanted) as one, psycopg.connect(**wanted) as two:
        yield one, two


def waits_for_a_lock() -> int:
    with connection.cursor() as cursor:
        cursor.execute("SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock'")
        return int(cursor.fetchone()[0])


def insert_event(rival: Any, child: Spawn, seq: int) -> None:
    rival.execute(
        "INSERT INTO ledger_event (project_id, cursor, session, attempt, seq, source, type, payload, size, at)"
        " VALUES (%s, -1, %s, 1, %s, 'child', 'note', '{}', 2, now())",
        (child.session.project_id, child.id, seq),
    )


def events(child: Spawn) -> list[int]:
    return list(Event.objects.filter(session=child.id, source="child").order_by("seq").values_list("seq", flat=True))


def test_events_that_lost_a_race_are_kept_by_the_second_try(
    server: Server, child: Spawn, rivals: tuple[Any, Any]
) -> None:
    """One rival writes the same event; before the second try the other one removes it. (It waits for its lock.)"""
    writer, remover = rivals
    with server.child(child) as peer:
        insert_event(writer, child, 1)
        peer.say("event", seq=1, event={"type": "note"})
        wait_until(lambda: waits_for_a_lock() == 1)
        removes = threading.Thread(target=remove, args=(remover, child))
        removes.start()
        wait_until(lambda: waits_for_a_lock() == 2)
        writer.commit()
        assert peer.hear("event_ack")["seq"] == 1
        removes.join(10)
    assert events(child) == [1]


def remove(rival: Any, child: Spawn) -> None:
    rival.execute("SELECT 1 FROM orchestration_session WHERE id = %s FOR NO KEY UPDATE", (child.id,))
    rival.execute("DELETE FROM ledger_event WHERE session = %s AND source = 'child'", (child.id,))
    rival.commit()


def test_a_row_that_stays_taken_is_refused_after_the_second_try(
    server: Server, child: Spawn, rivals: tuple[Any, Any]
) -> None:
    with server.child(child) as peer:
        insert_event(rivals[0], child, 1)
        rivals[0].commit()
        peer.say("event", seq=1, event={"type": "note"})
        assert peer.hear("error")["code"] == "invalid"
        assert_still_works(peer)


def assert_still_works(peer: Peer) -> None:
    peer.say("event", seq=2, event={"type": "note"})
    assert peer.hear("event_ack")["seq"] == 2


@pytest.mark.django_db(transaction=True)
def test_of_two_that_insert_one_row_the_loser_runs_again() -> None:
    row, both, tries, ends = uuid.uuid4(), threading.Barrier(2), [], []

    def look_and_insert(name: str) -> str:
        tries.append(name)
        found = Kept.objects.filter(pk=row).exists()
        if tries.count(name) == 1:
            both.wait(30)
        if found:
            return "found"
        Kept.objects.create(pk=row)
        return "made"

    def run(name: str) -> None:
        try:
            ends.append(sql.once_more(look_and_insert)(name))
        finally:
            connection.close()

    threads = [threading.Thread(target=run, args=(name,)) for name in "ab"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert (sorted(ends), len(tries)) == (["found", "made"], 3)


@pytest.mark.django_db(transaction=True)
def test_a_value_that_a_check_refuses_is_not_tried_again() -> None:
    tries = []

    def insert() -> None:
        tries.append(1)
        Event.objects.create(project=projects.default(), cursor=1, type="note", source="nobody")

    with pytest.raises(IntegrityError):
        sql.once_more(insert)()
    assert len(tries) == 1
