"""What PostgreSQL does for the hot statements: the ordered index and nothing else, whatever it knows of the table."""

from __future__ import annotations

import json
from uuid import uuid4

import pytest
from django.db import DataError, connection

from mailbox import Mailbox, claims, delivery, moves, parcels, sql
from tests.mailbox.conftest import task

pytestmark = [
    pytest.mark.django_db,
    pytest.mark.skipif(connection.vendor != "postgresql", reason="these are PostgreSQL's plans"),
]
MANY = 5000


@pytest.fixture
def crowded(project):
    """One address with a backlog among others that nobody has counted: statistics are as old as the migration."""
    for number in range(20):
        delivery.deliver(project, f"other-{number}", [task()])
    for start in range(0, MANY, 500):
        delivery.deliver(project, "desk", [task(str(start + number)) for number in range(500)])
    return project


def plan(statement):
    """The steps of the plan that a prepared statement keeps, each with the index it reads."""
    marked = statement.text
    for number in range(1, marked.count("%s") + 1):
        marked = marked.replace("%s", f"${number}", 1)
    with connection.cursor() as cursor:
        cursor.execute("SET LOCAL plan_cache_mode = force_generic_plan")
        cursor.execute("PREPARE it AS " + marked)
        cursor.execute(f"EXPLAIN (FORMAT json) EXECUTE it({', '.join(['NULL'] * marked.count('$'))})")
        found = cursor.fetchone()[0]
        cursor.execute("DEALLOCATE it")
    [whole] = json.loads(found) if isinstance(found, str) else found
    return set(steps(whole["Plan"]))


def steps(node):
    yield node["Node Type"], node.get("Index Name", "")
    for child in node.get("Plans", []):
        yield from steps(child)


def drain_of(project):
    change = claims._held(uuid4(), 60, "", None)
    return moves.statement(moves.waiting(project, "desk", claims._free(None)), change, 100, parcels.COLUMNS)


@pytest.mark.parametrize("analyzed", [False, True])
def test_a_drain_walks_the_ordered_index_until_it_has_enough(crowded, analyzed):
    if analyzed:
        with connection.cursor() as cursor:
            cursor.execute("ANALYZE mailbox_message")
    found = plan(drain_of(crowded))
    assert ("Index Scan", "message_waiting") in found
    assert not {("Sort", ""), ("Seq Scan", "")} & found


@pytest.mark.parametrize("analyzed", [False, True])
def test_an_ack_looks_for_its_ids_and_not_through_the_backlog(crowded, analyzed):
    if analyzed:
        with connection.cursor() as cursor:
            cursor.execute("ANALYZE mailbox_message")
    live = claims._live(uuid4(), None)
    by_name = plan(moves.statement(moves.named(crowded, "desk", ["a"], live), claims._admitted(None), None, "id"))
    by_row = plan(moves.statement(moves.numbered(crowded, "desk", [1], live), claims._admitted(None), None, "id"))
    assert "message_once_in_its_project" in {index for _, index in by_name}
    for found in (by_name, by_row):
        assert ("Seq Scan", "") not in found
        assert not {"message_waiting", "message_number_once_at_its_address"} & {index for _, index in found}


def test_a_claim_writes_no_index(crowded):
    def updates():
        with connection.cursor() as cursor:
            row = "'mailbox_message'::regclass"
            cursor.execute(f"SELECT pg_stat_get_xact_tuples_updated({row}), pg_stat_get_xact_tuples_hot_updated({row})")
            return cursor.fetchone()

    Mailbox("desk", project=crowded).drain(limit=100)
    changed, hot = updates()
    # The page where new rows go on has no room left for some.
    assert changed == 100 and hot >= 90


def test_errors_of_prepared_statements_are_djangos(project):
    with pytest.raises(DataError):
        sql.run_prepared("SELECT 1 / %s::int", [0])
