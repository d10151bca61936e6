"""The queue and the figures cost the same however long the queue is: a fixed number of queries, each by an index."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

from accounts.models import Project
from approvals.models import Approval
from approvals.states import Decision, Risk, Status, Via
from tests.approvals.conftest import Browser

pytestmark = pytest.mark.django_db

QUEUE = "/admin/approvals/approval/"
PAGE_OF_IDS = 'SELECT "approvals_approval"."id" AS "pk" FROM "approvals_approval"'
BEGAN = datetime(2026, 1, 1, tzinfo=UTC)
MANY = 300
SETTLED: dict[str, Any] = {"decided_by": {"kind": "user", "id": "1", "name": "bob", "user": "bob", "user_id": 1}}
STATES: list[dict[str, Any]] = [
    {"status": Status.APPROVED, "decision_kind": Decision.APPROVE, "decided_via": Via.ADMIN, **SETTLED},
    {"status": Status.DENIED, "decision_kind": Decision.DENY, "decided_via": Via.REST, **SETTLED},
    {"status": Status.EXPIRED},
    {"status": Status.CANCELLED, "cancel_reason": "withdrawn"},
]
PAGES = [
    {},
    {"whose": "all"},
    {"whose": "groups"},
    {"page": "5"},
    {"q": "echo 7"},
    {"q": "0123abcd"},
    *({"status": name} for name in ("snoozed", "unconsumed", "never-run", "unknown")),
    *({"status": name} for name in ("decided", "expired", "cancelled")),
]


def rows(project: Project, begin: int, number: int, **said: Any) -> list[Approval]:
    """Return requests one second apart, each like every tenth one."""
    return [
        Approval(
            project=project,
            request_id=f"r-{each}-{uuid.uuid4()}",
            via="rest",
            requested_by={"kind": "key", "id": "1", "name": "key", "user": "bob", "user_id": 1},
            requested_at=BEGAN + timedelta(seconds=each),
            tool_name="shell",
            permission="execute",
            resource=f"echo {each % 10}",
            risk=Risk.MEDIUM,
            reversibility="irreversible",
            allowed_decisions=["approve", "deny"],
            action='{"arguments":{"command":"echo"},"resource":"echo"}',
            digest="0" * 64,
            likeness=f"{each % 10:064}",
            **said,
        )
        for each in range(begin, begin + number)
    ]


def plant(project: Project, number: int, begin: int = 0) -> None:
    """Store `number` pending requests and as many of each other state."""
    made = rows(project, begin, number)
    for state in STATES:
        settled = rows(project, begin, number, **state, settled_at=BEGAN)
        for each in settled:
            each.settled_at = each.requested_at + timedelta(seconds=5)
        made += settled
    Approval.objects.bulk_create(made, batch_size=300)


@pytest.fixture
def many(project: Project) -> Iterator[Project]:
    plant(project, MANY)
    with connection.cursor() as cursor:
        cursor.execute("ANALYZE")
        if connection.vendor == "postgresql":
            cursor.execute("SET LOCAL enable_seqscan = off")
    yield project


def queries(client: Client, address: str, params: dict[str, str]) -> list[str]:
    with CaptureQueriesContext(connection) as seen:
        assert client.get(address, params).status_code == 200
    return [each["sql"] for each in seen.captured_queries]


def test_the_number_of_queries_does_not_grow(desk: Client, project: Project) -> None:
    plant(project, 260)
    desk.get(QUEUE)  # What is read once and kept.
    few = [len(queries(desk, QUEUE, params)) for params in PAGES]
    figures = len(queries(desk, f"{QUEUE}figures/", {}))
    plant(project, 120, begin=1000)
    assert [len(queries(desk, QUEUE, params)) for params in PAGES] == few
    assert len(queries(desk, f"{QUEUE}figures/", {})) == figures
    assert max(few) <= 20
    assert figures <= 12


def plans(statements: list[str]) -> Iterator[tuple[str, str]]:
    """Yield each statement about approvals with its plan, in the words of the database."""
    explain = "EXPLAIN " if connection.vendor == "postgresql" else "EXPLAIN QUERY PLAN "
    with connection.cursor() as cursor:
        for statement in statements:
            if statement.startswith("SELECT") and "approvals_approval" in statement:
                cursor.execute(explain + statement)
                yield statement, "\n".join(str(row[-1]) for row in cursor.fetchall())


def test_no_page_reads_every_row(browser: Browser, admin_user: Any, many: Project) -> None:
    """For the reader that no project bounds. A scan is planned only where no index helps."""
    client = browser(admin_user)
    for params in PAGES:
        for statement, plan in plans(queries(client, QUEUE, params)):
            for word in ("Seq Scan on approvals_approval", "SCAN approvals_approval\n", "SCAN U0\n"):
                assert word not in f"{plan}\n", f"{params}\n{statement}\n{plan}"


def test_a_page_of_the_queue_is_not_sorted(browser: Browser, admin_user: Any, many: Project) -> None:
    client = browser(admin_user)
    wanted = {"pending": "approvals_pending", "decided": "approvals_settled", "expired": "approvals_expired"}
    for name, index in wanted.items():
        found = plans(queries(client, QUEUE, {"status": name, "whose": "all"}))
        shown = [plan for statement, plan in found if statement.startswith(f"{PAGE_OF_IDS} WHERE")]
        assert len(shown) == 1
        assert index in shown[0], shown[0]
        for word in ("Sort  (", "USE TEMP B-TREE FOR ORDER BY"):
            assert word not in shown[0].partition("SubPlan")[0], shown[0]


@pytest.fixture
def large(backend: str, many: Project) -> None:
    if backend != "postgres":
        pytest.skip("SQLite reads the pending or approved rows of a project by the queue's index")


def test_what_never_ran_is_counted_by_an_index_of_its_own(desk: Client, large: None) -> None:
    """For a reader of some projects: the rows of whole projects are never read to count a few of them."""
    found = counts(desk, {"whose": "all"})
    unconsumed = [plan for statement, plan in found if "consumed" in statement]
    assert len(unconsumed) == 2
    for plan in unconsumed:
        assert "approvals_unconsumed" in plan


def test_the_requests_of_a_tool_are_counted_by_an_index(desk: Client, large: None) -> None:
    indexes = {"'pending'": "approvals_pending_by_tool", "consumed": "approvals_unconsumed_by_tool"}
    found = counts(desk, {"tool": "rare", "risk": "low", "whose": "all"})
    for word, index in indexes.items():
        plan, *_ = [plan for statement, plan in found if word in statement]
        assert index in plan


def counts(client: Client, params: dict[str, str]) -> list[tuple[str, str]]:
    """Return the statements of the queue that count, each with its plan."""
    return [each for each in plans(queries(client, QUEUE, params)) if each[0].startswith("SELECT COUNT")]
