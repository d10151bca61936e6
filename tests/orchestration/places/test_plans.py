"""The choice of the next attempt reads a few rows of an index, with 10,000 queued."""

from __future__ import annotations

import uuid
from typing import Any

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from accounts.models import Project
from orchestration.models import Attempt, Session
from orchestration.places import held, turns
from tests.orchestration import stages

pytestmark = pytest.mark.django_db
MANY = 10_000


@pytest.fixture
def crowd(db: None) -> Session:
    """10,000 queued sessions of one project, and one of another."""
    project = stages.project()
    keys = [uuid.uuid4() for _ in range(MANY)]
    Session.objects.bulk_create(
        [Session(id=key, root=key, project=project, assignment="x", attempt=1) for key in keys], batch_size=500
    )
    Attempt.objects.bulk_create([Attempt(session_id=key, number=1) for key in keys], batch_size=500)
    other, key = Project.objects.create(slug="other"), uuid.uuid4()
    lone = Session.objects.create(id=key, root=key, project=other, assignment="x", attempt=1)
    Attempt.objects.create(session=lone, number=1)
    with connection.cursor() as cursor:
        cursor.execute("ANALYZE")
    return lone


def plans(queries: Any) -> str:
    """Return the plans of these queries, in the words of the database."""
    found = []
    with connection.cursor() as cursor:
        for query in queries:
            if query["sql"].startswith("SELECT"):
                explain = "EXPLAIN " if connection.vendor == "postgresql" else "EXPLAIN QUERY PLAN "
                cursor.execute(explain + query["sql"])
                found += [str(row[-1]) for row in cursor.fetchall()]
    return "\n".join(found)


def test_the_next_in_turn_is_found_in_the_index(crowd: Session) -> None:
    with CaptureQueriesContext(
        connection,
    ) as seen:
        found = turns.in_turn(held.of_processes(), 1)
    assert len(found) == 1
    assert len(seen) <= 5
    told = plans(seen.captured_queries)
    assert "session_queue" in told
    for word in (
        "Seq Scan on orchestration_session",
        "Sort Key: u0.queued_at",
        "SCAN orchestration_session",
        "SCAN U0",
    ):
        assert word not in told, told


def test_the_choice_takes_no_longer_with_a_long_queue(crowd: Session) -> None:
    assert crowd.pk in {pk for pk, _ in turns.in_turn(held.of_processes(), 2)}


def test_the_deepest_is_found_in_the_index(crowd: Session) -> None:
    bound = held.Bound("process", "here", 0)
    with CaptureQueriesContext(connection) as seen:
        list(
            turns._below_waiting_parents(
                held.Bound("process", "here", 1), turns._launchable(bound, None), is_full=False
            )
        )
    assert len(seen) == 1
