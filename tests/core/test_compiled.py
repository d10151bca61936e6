"""Compiled queries return what the same queryset returns, for every value, and share nothing between calls."""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.db import connection
from django.db.models import BooleanField, Case, Count, F, Q, QuerySet, Value, When
from django.test.utils import CaptureQueriesContext

from accounts.models import Credential, Project, User
from core.db import compiled
from core.db.clock import clock_at, database_now
from core.db.compiled import CompiledQueries, CompiledUpdates, Listing

pytestmark = pytest.mark.django_db
AT = datetime(2026, 1, 31, 12, 0, 0, 123456, tzinfo=UTC)


@pytest.fixture
def project() -> Project:
    return Project.objects.create(slug="compiled", name="Compiled")


@pytest.fixture
def rows(project: Project) -> list[Credential]:
    user = User.objects.create(username="person")
    return [
        Credential.objects.create(
            public_id=f"id{number}",
            secret_hash="x",
            kind="api",
            project=project,
            user=user if number % 2 else None,
            attempt=number,
            name=f"100 % 'sure' \\ {number}",
            scopes=["feed:read", str(number)],
            ended_at=AT + timedelta(microseconds=number),
        )
        for number in range(5)
    ]


def build(values: Mapping[str, Any]) -> QuerySet[Credential]:
    ended = When(ended_at__lt=database_now(), then=Value(True))
    rows = Credential.objects.annotate(over=Case(ended, default=Value(False), output_field=BooleanField()))
    rows = rows.annotate(sort=Value("50 %s")).filter(project_id=values["project"])
    if "name" in values:
        rows = rows.filter(name=values["name"])
    if "user" in values:
        rows = rows.filter(Q(user=values["user"]) & Q(user__username__isnull=False))
    if "attempt" in values:
        rows = rows.filter(attempt=values["attempt"])
    if "since" in values:
        rows = rows.filter(ended_at__gte=values["since"])
    return rows.order_by("ended_at")


def test_the_rows_are_those_of_the_queryset(project: Project, rows: list[Credential]) -> None:
    queries: CompiledQueries[Credential] = CompiledQueries()
    someone = User.objects.get(username="person").pk
    for values in [
        {"project": project.pk},
        {"project": uuid.uuid4()},
        *({"project": project.pk, "name": row.name} for row in rows),
        {"project": project.pk, "name": "nobody's"},
        {"project": project.pk, "user": someone},
        {"project": project.pk, "user": someone + 1},
        *({"project": project.pk, "attempt": number} for number in range(6)),
        *({"project": project.pk, "since": row.ended_at} for row in rows),
    ]:
        expected = list(build(values))
        found = queries.rows(tuple(values), values, build)
        assert found == expected
        for one, other in zip(found, expected, strict=True):
            assert {**vars(one), "_state": None} == {**vars(other), "_state": None}
            assert (one._state.adding, one._state.db) == (False, "default")
    assert len(queries._made) == 5


def test_the_sql_is_built_once(project: Project, rows: list[Credential]) -> None:
    queries: CompiledQueries[Credential] = CompiledQueries()
    built = []

    def counted(values: Mapping[str, Any]) -> QuerySet[Credential]:
        built.append(values)
        return build(values)

    for row in rows:
        assert queries.rows("by name", {"project": project.pk, "name": row.name}, counted) == [row]
    assert len(built) == 1 and built[0]["name"] not in {row.name for row in rows}


def test_a_test_of_another_time_sees_that_time(project: Project, rows: list[Credential]) -> None:
    queries: CompiledQueries[Credential] = CompiledQueries()
    assert [vars(row)["over"] for row in queries.rows("all", {"project": project.pk}, build)] == [True] * 5
    with clock_at(AT + timedelta(microseconds=2)):
        assert [vars(row)["over"] for row in queries.rows("all", {"project": project.pk}, build)] == [True] * 2 + [
            False
        ] * 3
    assert [vars(row)["over"] for row in queries.rows("all", {"project": project.pk}, build)] == [True] * 5


def test_a_value_that_the_query_does_not_use_is_refused(project: Project) -> None:
    with pytest.raises(ValueError, match="does not use other"):
        CompiledQueries[Credential]().rows("x", {"project": project.pk, "other": "value"}, build)


@pytest.mark.parametrize("value", [None, True, 1.5, ["a"]])
def test_a_value_that_it_cannot_place_is_refused(project: Project, value: Any) -> None:
    with pytest.raises(TypeError, match=f"takes no {type(value).__name__}"):
        CompiledQueries[Credential]().rows("x", {"project": project.pk, "name": value}, build)


def test_a_second_table_is_refused(project: Project) -> None:
    with pytest.raises(ValueError, match="one table"):
        CompiledQueries[Credential]().rows(
            "x", {"project": project.pk}, lambda values: build(values).select_related("project")
        )


def test_a_value_inside_json_is_found(project: Project, rows: list[Credential]) -> None:
    queries: CompiledQueries[Credential] = CompiledQueries()

    def second(values: Mapping[str, Any]) -> QuerySet[Credential]:
        return build(values).filter(**{"scopes__1": values["scope"]})

    for number, row in enumerate(rows):
        assert queries.rows("scope", {"project": project.pk, "scope": str(number)}, second) == [row]


def test_shapes_beyond_the_bound_are_not_kept(
    project: Project, rows: list[Credential], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(compiled, "MOST_SHAPES", 2)
    queries: CompiledQueries[Credential] = CompiledQueries()
    for shape in range(9):
        assert queries.rows(shape, {"project": project.pk}, build) == rows
    assert len(queries._made) == 2


@pytest.mark.parametrize("direction", ["gt", "lt"])
@pytest.mark.parametrize("size", [1, 2, 3, 60])
def test_a_listing_goes_through_all_rows(project: Project, rows: list[Credential], direction: str, size: int) -> None:
    listing = Listing(CompiledQueries(), Credential, "all", {"project": project.pk}, build)
    place, found = None, []
    with CaptureQueriesContext(connection) as sent:
        while batch := listing.batch(("ended_at", "id"), direction, place, size):
            assert len(batch) <= size
            found += batch
            place = (batch[-1].ended_at, batch[-1].pk)
    assert found == (rows if direction == "gt" else rows[::-1])
    if connection.vendor == "sqlite":  # PostgreSQL gets prepared statements, which Django does not capture.
        assert len(sent) == -(-5 // size) + 1


@pytest.mark.django_db(transaction=True)
def test_threads_share_a_query_and_no_values(project: Project, rows: list[Credential]) -> None:
    queries: CompiledQueries[Credential] = CompiledQueries()

    def read(number: int) -> None:
        try:
            name = rows[number % 5].name
            assert queries.rows("by name", {"project": project.pk, "name": name}, build) == [rows[number % 5]]
        finally:
            connection.close()

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(read, range(80)))


def test_a_sum_is_no_row_of_the_model(project: Project) -> None:
    def sums(values: Mapping[str, Any]) -> QuerySet[Any]:
        return build(values).values("kind").annotate(number=Count("pk"), twice=F("id"))

    with pytest.raises(ValueError, match="rows of a model"):
        CompiledQueries[Credential]().rows("x", {"project": project.pk}, sums)


def ours(values: Mapping[str, Any]) -> tuple[QuerySet[Credential], Mapping[str, Any]]:
    rows = Credential.objects.filter(
        project_id=values["project"], attempt=values["attempt"], ended_at__lt=database_now()
    )
    return rows, {"ended_at": database_now(), "attempt": F("attempt") + 100}


def test_an_update_changes_and_returns_what_a_queryset_would_whatever_its_values(rows: list[Credential]) -> None:
    updates: CompiledUpdates[Credential] = CompiledUpdates()
    for attempt, (name, scopes, user) in enumerate(
        [("50 % 'sure' %s", ["a", {"b": None}], rows[0].user), ("", [], None), ("\u202e", ["%s"], rows[0].user)]
    ):
        values = {"project": rows[0].project_id, "attempt": attempt}
        columns = {"name": name, "scopes": scopes, "user": user and user.pk}
        (changed,) = updates.run("ours", values, ours, columns)
        again = Credential.objects.get(pk=changed.pk)
        for each in (changed, again):
            assert (each.attempt, each.name, each.scopes, each.user) == (attempt + 100, name, scopes, user)
        assert changed.ended_at == again.ended_at > rows[attempt].ended_at
        assert updates.run("ours", values, ours, columns) == []
    assert len(updates._made) == 1


def test_an_update_judges_by_the_clock_of_a_test(rows: list[Credential]) -> None:
    updates: CompiledUpdates[Credential] = CompiledUpdates()
    values = {"project": rows[0].project_id, "attempt": 1}
    with clock_at(AT):
        assert updates.run("ours", values, ours, {"name": "early"}) == []
    assert [row.name for row in updates.run("ours", values, ours, {"name": "now"})] == ["now"]


def test_instances_are_those_that_django_makes(rows: list[Credential]) -> None:
    compiled_rows: CompiledQueries[Credential] = CompiledQueries()
    values = {"project": rows[0].project_id}
    for some in (lambda rows: rows, lambda rows: rows.only("name")):

        def these(values: Mapping[str, Any], some: Any = some) -> QuerySet[Credential]:
            return some(Credential.objects.filter(project_id=values["project"]).order_by("attempt"))

        made, theirs = compiled_rows.rows(repr(some), values, these), list(these(values))
        assert len(made) == 5
        for mine, other in zip(made, theirs, strict=True):
            state, expected = mine.__dict__ | {"_state": 0}, other.__dict__ | {"_state": 0}
            assert state == expected
            assert (mine._state.adding, mine._state.db) == (False, "default")
            assert mine.get_deferred_fields() == other.get_deferred_fields()
            assert mine.user == other.user and mine.scopes == other.scopes
            mine.refresh_from_db()


def test_a_caller_that_invents_shapes_drops_the_ones_that_nobody_uses(
    project: Project, rows: list[Credential], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(compiled, "MOST_SHAPES", 3)
    queries: CompiledQueries[Credential] = CompiledQueries()
    built = []

    def counted(values: Mapping[str, Any]) -> QuerySet[Credential]:
        built.append(values)
        return build(values)

    for number in range(10):
        queries.rows(f"invented {number}", {"project": project.pk}, build)
        queries.rows("usual", {"project": project.pk}, counted)
    assert (len(built), len(queries._made)) == (1, 3)


def test_a_condition_more_is_another_statement_although_the_shape_is_the_same(rows: list[Credential]) -> None:
    """A caller that forgets a condition in the shape must not lose it, as the version that was shown to a person."""

    def named(values: Mapping[str, Any]) -> tuple[QuerySet[Credential], Mapping[str, Any]]:
        return Credential.objects.filter(**values), {"ended_at": database_now()}

    values = {"project_id": rows[0].project_id, "attempt": 1}
    updates: CompiledUpdates[Credential] = CompiledUpdates()
    assert [row.attempt for row in updates.run("one", values, named)] == [1]
    assert updates.run("one", {**values, "name": "another"}, named) == []
    assert [row.attempt for row in updates.run("one", values, named, {"name": "new"})] == [1]
    assert Credential.objects.get(attempt=1).name == "new"
    queries: CompiledQueries[Credential] = CompiledQueries()
    for wanted, found in (({}, [rows[1]]), ({"kind": "child"}, [])):
        assert queries.rows("one", {**values, **wanted}, lambda values: Credential.objects.filter(**values)) == found
