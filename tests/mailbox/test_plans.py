"""PostgreSQL's plans for the hot statements: the ordered index and nothing else, for any statistics."""

from __future__ import annotations

import json
import re
from typing import Any
from uuid import UUID, uuid4
from weakref import WeakKeyDictionary

import pytest
from django.db import DataError, connection
from django.utils.timezone import now

from core.db import sql as core_sql
from core.db.clock import later
from mailbox import Mailbox, claims, delivery
from mailbox.models import Message, Receipt
from mailbox.store import receipts, sql
from tests.mailbox.conftest import task

pytestmark = [
    pytest.mark.django_db,
    pytest.mark.skipif(connection.vendor != "postgresql", reason="these are PostgreSQL's plans"),
]
MANY = 5000


@pytest.fixture
def crowded(project: UUID) -> Any:
    """One address with a backlog among others that nobody has counted: statistics are as old as the migration."""
    for number in range(20):
        delivery.deliver(project, f"other-{number}", [task()])
    for start in range(0, MANY, 500):
        delivery.deliver(project, "desk", [task(str(start + number)) for number in range(500)])
    return project


def plan(statement: str) -> set[Any]:
    """The steps of the plan that a prepared statement keeps, each with the index it reads."""
    names: dict[str, int] = {}
    marked = re.sub(r"%\((\w+)\)s", lambda found: f"${names.setdefault(found[1], len(names) + 1)}", statement)
    with connection.cursor() as cursor:
        cursor.execute("SET LOCAL plan_cache_mode = force_generic_plan")
        cursor.execute("PREPARE it AS " + marked)
        cursor.execute(f"EXPLAIN (FORMAT json) EXECUTE it({', '.join(['NULL'] * len(names))})")
        found = cursor.fetchone()[0]
        cursor.execute("DEALLOCATE it")
    [whole] = json.loads(found) if isinstance(found, str) else found
    return set(steps(whole["Plan"]))


def tables(found: Any) -> set[Any]:
    """Return the tables that a plan scans completely."""
    return {where for step, where in found if step == "Seq Scan"}


def steps(node: Any) -> list[Any]:
    below = [step for child in node.get("Plans", []) for step in steps(child)]
    # What comes after a LIMIT has no more rows than that.
    where = "limited" if node["Node Type"] == "Sort" and ("Limit", "") in below else ""
    return [(node["Node Type"], node.get("Index Name") or node.get("Relation Name", where)), *below]


@pytest.mark.parametrize("statement", ["drain", "drain_bytes", "ack_and_claim", "ack_and_claim_bytes"])
@pytest.mark.parametrize("analyzed", [False, True])
def test_a_claim_walks_the_ordered_index_until_it_has_enough(crowded: Any, analyzed: bool, statement: str) -> None:
    if analyzed:
        with connection.cursor() as cursor:
            cursor.execute("ANALYZE mailbox_waiting, mailbox_message")
    found = plan(sql.STATEMENTS[statement])
    assert {("Index Scan", "waiting_in_order"), ("Index Scan", "mailbox_message_pkey")} <= found
    assert tables(found) <= {"mailbox_address"}
    # Only the few acknowledged keys may be sorted.
    assert ("Sort", "") not in found or statement.startswith("ack")


@pytest.mark.parametrize("analyzed", [False, True])
def test_an_ack_looks_for_its_keys_and_not_through_the_backlog(crowded: Any, analyzed: bool) -> None:
    if analyzed:
        with connection.cursor() as cursor:
            cursor.execute("ANALYZE mailbox_waiting, mailbox_message")
    found = plan(sql.STATEMENTS["ack"])
    assert "mailbox_waiting_pkey" in {where for _, where in found}
    assert tables(found) <= {"mailbox_address"} and "waiting_in_order" not in {where for _, where in found}


@pytest.mark.parametrize("analyzed", [False, True])
def test_an_old_receipt_is_found_where_its_messages_were_and_not_among_all_that_came_since(
    project: UUID, analyzed: bool
) -> None:
    sent = [each.id for each in delivery.deliver(project, "desk", [task(), task()])]
    claim = claims.drain(project, "desk")
    claims.ack(project, "desk", claim)
    [old] = Message.objects.filter(message_id=sent[0])
    since = [{"first_seq": seq, "last_seq": seq, "taken": {str(seq): 1}} for seq in range(3, MANY)]
    Receipt.objects.bulk_create(Receipt(address=old.address, admitted_at=now(), **each) for each in since)
    with connection.cursor() as cursor:
        if analyzed:
            cursor.execute("ANALYZE mailbox_receipt, mailbox_message")

        def looked_at() -> Any:
            row = "'mailbox_receipt'::regclass"
            cursor.execute(f"SELECT pg_stat_get_xact_tuples_returned({row}) + pg_stat_get_xact_tuples_fetched({row})")
            return cursor.fetchone()[0]

        before = looked_at()
        assert claims.ack(project, "desk", claim).done == sent
        assert claims.ack(project, "desk", uuid4(), sent).unknown == sent
        receipts.attach([old])
        assert old.receipt.claim == Message.objects.get(pk=old.pk).receipt.claim == claim.token
        assert looked_at() - before < 50


@pytest.mark.parametrize("analyzed", [False, True])
def test_letting_go_reads_what_goes_and_nothing_else_of_its_address(crowded: Any, analyzed: bool) -> None:
    desk = Mailbox("desk", project=crowded)
    desk.ack(desk.drain(limit=100))
    with connection.cursor() as cursor:
        if analyzed:
            cursor.execute("ANALYZE mailbox_message, mailbox_receipt, mailbox_waiting")

        def looked_at() -> Any:
            row = "'mailbox_message'::regclass"
            cursor.execute(f"SELECT pg_stat_get_xact_tuples_returned({row}) + pg_stat_get_xact_tuples_fetched({row})")
            return cursor.fetchone()[0]

        before = looked_at()
        assert receipts.forget(receipts.due(later(1), 500)) == 100
        assert looked_at() - before < 1000
    assert Message.objects.filter(address__name="desk").count() == MANY - 100


def test_a_claim_writes_no_index(crowded: Any) -> None:
    def updates() -> Any:
        with connection.cursor() as cursor:
            row = "'mailbox_waiting'::regclass"
            cursor.execute(f"SELECT pg_stat_get_xact_tuples_updated({row}), pg_stat_get_xact_tuples_hot_updated({row})")
            return cursor.fetchone()

    before = updates()  # They also count what this connection has not reported yet of the tests before.
    Mailbox("desk", project=crowded).drain(limit=100)
    changed, hot = (after - before for after, before in zip(updates(), before, strict=True))
    # The page where new rows go on has no room left for some.
    assert changed == 100 and hot >= 70


def test_plans_are_kept_for_a_second_and_made_for_all_values(crowded: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    now = [100.0]
    monkeypatch.setattr("core.db.sql.time.monotonic", lambda: now[0])
    monkeypatch.setattr("core.db.sql._renewed", WeakKeyDictionary())
    renewed = []

    def watched(cursor: Any, run: Any = core_sql._renew_plans) -> None:
        before = core_sql._renewed.get(cursor.connection)
        run(cursor)
        renewed.append(core_sql._renewed[cursor.connection] != before)

    monkeypatch.setattr("core.db.sql._renew_plans", watched)
    for step in (0, 0.5, 0.6, 0.3):
        now[0] += step
        core_sql.run_prepared("SELECT seq FROM mailbox_waiting WHERE seq = %s", [1])
    assert renewed == [True, False, True, False]
    with connection.cursor() as cursor:
        cursor.execute("SHOW plan_cache_mode")
        assert cursor.fetchone() == ("force_generic_plan",)
        cursor.execute(
            "SELECT generic_plans, custom_plans FROM pg_prepared_statements WHERE statement LIKE '%WHERE seq = $1'"
        )
        assert cursor.fetchone() == (4, 0)


def test_errors_of_prepared_statements_are_djangos(project: UUID) -> None:
    with pytest.raises(DataError):
        core_sql.run_prepared("SELECT 1 / %s::int", [0])
