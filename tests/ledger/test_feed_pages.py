"""The feed and a session's events, page by page."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from typing import Any

import pytest
from django.test import Client

from accounts import credentials, projects
from accounts.models import Project
from core.db.clock import Now
from ledger import feed, unit_of_work
from ledger.models import Event, Head
from orchestration.models import Session
from tests.people import owner

pytestmark = pytest.mark.django_db
FEED = "/api/v1/feed"
Get = Callable[..., Any]


@pytest.fixture
def project() -> Project:
    return projects.default()


@pytest.fixture
def other() -> Project:
    return Project.objects.create(slug="other")


def caller(project: Project, *scopes: str, **kind: Any) -> Get:
    _, token = credentials.mint(**{"kind": "api", "user": owner(), "project": project, "scopes": scopes, **kind})
    client = Client(headers={"Authorization": f"Bearer {token}"})
    return lambda path, **params: client.get(path, params)


def happen(project: Project, *types: str, session: uuid.UUID | None = None) -> None:
    for type in types:
        with unit_of_work.transaction():
            unit_of_work.event(project.pk, type, {"n": 1}, session=session)


def spawned(project: Project, parent: Session | None = None) -> Session:
    pk = uuid.uuid4()
    root = parent.root if parent else pk
    return Session.objects.create(id=pk, project=project, parent=parent, root=root, assignment="work")


def test_pages_follow_one_another_and_say_where_to_go_on(project: Project) -> None:
    get = caller(project, "feed:read")
    happen(project, "a", "b", "c")
    first = get(FEED, limit=2).json()
    assert [event["type"] for event in first["results"]] == ["a", "b"]
    assert (first["next"], first["cursor"]) == (2, 2)
    last = get(FEED, after=first["next"]).json()
    assert [event["type"] for event in last["results"]] == ["c"]
    assert (last["next"], last["cursor"]) == (None, 3)
    assert get(FEED, after=3).json() == {"results": [], "next": None, "cursor": 3}


def test_a_page_ends_at_its_bytes_and_the_next_one_goes_on_there(project: Project, timings: Any) -> None:
    timings(max_page_bytes=10_000)
    with unit_of_work.transaction():
        for size in (4000, 4000, 4000, 50_000, 10, 10):
            unit_of_work.event(project.pk, "large", {"text": "x" * size})
    get, pages, after = caller(project, "feed:read"), [], 0
    while after is not None:
        page = get(FEED, after=after).json()
        pages.append([event["cursor"] for event in page["results"]])
        assert page["cursor"] == pages[-1][-1]
        after = page["next"]
    assert pages == [[1, 2], [3], [4], [5, 6]]


def test_a_page_loads_no_payload_that_it_does_not_show(project: Project, django_assert_max_num_queries: Any) -> None:
    with unit_of_work.transaction():
        for _ in range(4):
            unit_of_work.event(project.pk, "large", {"text": "x" * 600_000})
    with django_assert_max_num_queries(3) as queries:
        assert len(feed.beyond(project.pk, 0).events) == 1
    loading = [query["sql"] for query in queries.captured_queries if "payload" in query["sql"]]
    assert len(loading) == 1
    assert '"cursor" <= 1' in loading[0]


def test_a_payload_reads_back_as_it_was_sent_and_takes_no_more_room(project: Project) -> None:
    payload: dict[str, Any] = {
        "n": [1e300, 1.5, 2**70, -0.0, True, None],
        "text": "\u2028 é \U0001f600",
        "deep": [[{}]],
    }
    with unit_of_work.transaction():
        unit_of_work.event(project.pk, "odd", payload)
    answer = caller(project, "feed:read")(FEED)
    assert answer["Content-Type"] == "application/json"
    assert answer.json()["results"][0]["payload"] == payload
    assert len(answer.content) < 400
    assert Event.objects.get().payload == payload


def test_an_event_has_every_field_of_its_shape(project: Project) -> None:
    happen(project, "a", session=uuid.uuid4())
    (event,) = caller(project, "feed:read")(FEED).json()["results"]
    assert set(event) == {"cursor", "session", "attempt", "seq", "source", "type", "payload", "at"}
    assert (event["seq"], event["source"]) == (None, "wardroom")


def test_the_feed_of_another_project_is_another_feed(project: Project, other: Project) -> None:
    happen(project, "mine")
    happen(other, "theirs", "theirs")
    assert [event["type"] for event in caller(project, "feed:read")(FEED).json()["results"]] == ["mine"]


@pytest.mark.parametrize("params", [{"after": "x"}, {"after": "-1"}, {"limit": "0"}, {"limit": "501"}, {"limit": "٣"}])
def test_a_cursor_or_a_limit_that_is_none_is_422(project: Project, params: dict[str, str]) -> None:
    answer = caller(project, "feed:read")(FEED, **params)
    assert (answer.status_code, answer.json()["type"]) == (422, "invalid")


def test_a_cursor_older_than_what_is_kept_or_from_the_future_is_410_resync(project: Project) -> None:
    get = caller(project, "feed:read")
    happen(project, "a", "b", "c")
    Event.objects.filter(cursor__lte=2).delete()
    Head.objects.update(oldest=2)
    for after in (0, 1, 9):
        answer = get(FEED, after=after)
        assert (answer.status_code, answer.json()["type"], answer.json()["cursor"]) == (410, "resync", 3)
    assert [event["cursor"] for event in get(FEED, after=2).json()["results"]] == [3]
    assert [event["cursor"] for event in get(FEED).json()["results"]] == [3]


def test_a_reader_without_a_cursor_of_a_feed_that_was_pruned_to_nothing_goes_on_without_resync(
    project: Project,
) -> None:
    happen(project, "a", "b")
    Event.objects.all().delete()
    Head.objects.update(oldest=2)
    page = caller(project, "feed:read")(FEED).json()
    assert page == {"results": [], "next": None, "cursor": 2}
    assert not feed.beyond(project.pk, page["cursor"]).resync


def test_a_session_that_began_after_the_pruning_is_read_from_its_start(project: Project) -> None:
    session = spawned(project)
    happen(project, "old", "old")
    happen(project, "new", "new", session=session.pk)
    Event.objects.filter(type="old").delete()
    Head.objects.update(oldest=2)
    assert len(feed.beyond(project.pk, 0, session=session.pk).events) == 2
    assert len(feed.beyond(project.pk, 3, session=session.pk).events) == 1
    assert feed.beyond(project.pk, 1, session=session.pk).resync


def test_scopes_and_tokens(project: Project) -> None:
    session = spawned(project)
    path = f"/api/v1/sessions/{session.pk}/events"
    assert Client().get(FEED).status_code == 401
    assert caller(project, "sessions:read")(FEED).status_code == 403
    assert caller(project, "feed:read")(path).status_code == 403
    assert caller(project, "sessions:read")(path).status_code == 200
    child = caller(project, kind="child", subject=str(session.pk), attempt=1)
    assert child(FEED).status_code == 403
    assert child(path).status_code == 200


def test_a_session_shows_its_own_events_only(project: Project) -> None:
    session = spawned(project)
    happen(project, "mine", session=session.pk)
    happen(project, "other", session=uuid.uuid4())
    page = caller(project, "sessions:read")(f"/api/v1/sessions/{session.pk}/events").json()
    assert [event["type"] for event in page["results"]] == ["mine"]


def test_foreign_and_unknown_sessions_are_the_same_404(project: Project, other: Project) -> None:
    get = caller(project, "sessions:read")
    foreign, unknown = spawned(other).pk, uuid.uuid4()
    answers = [get(f"/api/v1/sessions/{pk}/events") for pk in (foreign, unknown)]
    assert [answer.status_code for answer in answers] == [404, 404]
    assert answers[0].json() == answers[1].json()


def test_a_childs_token_reads_itself_and_what_is_below_it(project: Project) -> None:
    root = spawned(project)
    me = spawned(project, root)
    below = spawned(project, spawned(project, me))
    sister = spawned(project, root)
    get = caller(project, kind="child", subject=str(me.pk), attempt=1)
    statuses = [get(f"/api/v1/sessions/{session.pk}/events").status_code for session in (me, below, root, sister)]
    assert statuses == [200, 200, 404, 404]


def test_a_snapshot_is_the_state_and_the_cursor_to_go_on_from(project: Project, other: Project) -> None:
    waiting, over = spawned(project), spawned(project)
    Session.objects.filter(pk=over.pk).update(status="completed", finished_at=Now())
    spawned(other)
    happen(project, "a", "b")
    get = caller(project, "feed:read", "sessions:read", "approvals:read")
    seen = get("/api/v1/snapshot").json()
    assert seen["cursor"] == 2
    assert [session["id"] for session in seen["sessions"]] == [str(waiting.pk)]
    assert (seen["approvals"], seen["truncated"]) == ([], False)
    assert get(FEED, after=seen["cursor"]).json()["results"] == []


def test_a_snapshot_shows_each_part_only_with_its_own_scope(project: Project) -> None:
    seen = caller(project, "feed:read")("/api/v1/snapshot").json()
    assert (seen["sessions"], seen["approvals"]) == (None, None)
    assert caller(project, "sessions:read", "approvals:read")("/api/v1/snapshot").status_code == 403
