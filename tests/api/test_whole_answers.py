"""A cut answer says so and leads to the rest. No answer grows with the number of rows."""

from __future__ import annotations

from typing import Any

import pytest

from accounts import projects
from accounts.actors import Actor
from core.web import pages
from orchestration.api import tree
from orchestration.models import Attempt, Session
from orchestration.sessions import spawn as session_spawn
from orchestration.sessions.spawn import SpawnOrder
from tests.mailbox.faces import Caller, Django

pytestmark = pytest.mark.django_db

API = "/api/v1"


def spawn(parent: Session | None = None, **order: Any) -> Session:
    wanted = SpawnOrder(**{"assignment": "x", "runner": "external", "parent": parent and parent.pk, **order})
    return session_spawn.spawn(projects.default(), wanted, Actor.system("tests")).session


def child(of: Session) -> Caller:
    return Caller(Django(), of.project_id, kind="child", subject=str(of.pk), attempt=of.attempt, user=None)


def counted(node: dict[str, Any]) -> int:
    return 1 + sum(counted(each) for each in node["children"])


@pytest.fixture
def small(timings: Any) -> None:
    """Room for a few sessions of 20 kB."""
    timings(max_page_bytes=100_000)


def walked(caller: Caller, path: str, **query: Any) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    while True:
        answer = caller.get(f"{API}/{path}", **query)
        assert answer.status_code == 200, answer.content
        found += answer.json()["results"]
        if not (following := answer.json()["next"]):
            return found
        query["cursor"] = following


def test_a_tree_that_is_all_there_says_so(caller: Caller) -> None:
    root = spawn()
    spawn(spawn(root))
    shown = caller.get(f"{API}/sessions/{root.pk}/tree").json()
    assert (counted(shown), shown["truncated"], shown["children"][0]["truncated"]) == (3, False, False)


def test_a_tree_beyond_its_rows_says_where_and_every_session_of_it_is_reached(
    caller: Caller, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tree, "MAX_SESSIONS", 5)
    root = spawn()
    branches = [spawn(root) for _ in range(3)]
    leaves = {str(spawn(branch).pk): branch for branch in branches for _ in range(3)}
    shown = caller.get(f"{API}/sessions/{root.pk}/tree").json()
    assert counted(shown) == 5
    assert not shown["truncated"]
    assert any(branch["truncated"] for branch in shown["children"])
    for id, branch in leaves.items():
        below = caller.get(f"{API}/sessions/{branch.pk}/tree").json()
        assert id in [leaf["id"] for leaf in below["children"]]
        own = caller.get(f"{API}/sessions/{id}/tree").json()
        assert (own["id"], own["children"]) == (id, [])


def test_a_session_far_beyond_the_first_thousand_of_its_root_has_its_own_tree(caller: Caller) -> None:
    root = spawn()
    over = {"status": "completed", "finished_at": root.created_at}
    other = Session(project=root.project, parent=root, root=root.pk, depth=1, **over)
    fields = [field.name for field in Session._meta.fields if field.name not in ("id", "created_at")]
    values = {name: getattr(other, name) for name in fields}
    Session.objects.bulk_create([Session(**values) for _ in range(tree.MAX_SESSIONS + 5)])
    last = Session.objects.filter(parent=root).order_by("created_at", "pk").last()
    assert last is not None
    answer = caller.get(f"{API}/sessions/{last.pk}/tree")
    assert (answer.status_code, answer.json()["id"]) == (200, str(last.pk))
    whole = caller.get(f"{API}/sessions/{root.pk}/tree").json()
    assert whole["truncated"]
    assert len(walked(caller, "sessions", parent=str(root.pk), limit=200)) == tree.MAX_SESSIONS + 5


@pytest.mark.usefixtures("small")
def test_lists_and_trees_end_at_their_bytes_and_go_on(caller: Caller) -> None:
    root = spawn()
    made = {str(spawn(root, assignment="x" * 20_000).pk) for _ in range(12)}
    first = caller.get(f"{API}/sessions", parent=str(root.pk))
    assert len(first.content) < 110_000
    assert 0 < len(first.json()["results"]) < 12
    found = [each["id"] for each in walked(caller, "sessions", parent=str(root.pk))]
    assert (len(found), set(found)) == (12, made)
    shown = caller.get(f"{API}/sessions/{root.pk}/tree")
    assert shown.json()["truncated"] and len(shown.content) < 110_000
    state = caller.get(f"{API}/snapshot")
    assert state.json()["truncated"] and len(state.content) < 110_000


@pytest.mark.usefixtures("small")
def test_a_row_over_all_bytes_is_a_page_of_its_own(caller: Caller) -> None:
    root = spawn()
    for _ in range(3):
        spawn(root, assignment="x" * 200_000)
    assert len(caller.get(f"{API}/sessions", parent=str(root.pk)).json()["results"]) == 1
    assert len(walked(caller, "sessions", parent=str(root.pk))) == 3


def test_attempts_come_in_pages(caller: Caller) -> None:
    session = spawn()
    over = {"session": session, "status": "error", "ended_at": session.created_at}
    Attempt.objects.bulk_create([Attempt(number=number, **over) for number in range(2, 60)])
    assert len(caller.get(f"{API}/sessions/{session.pk}/attempts").json()["results"]) == pages.LIMIT
    found = walked(caller, f"sessions/{session.pk}/attempts", limit=20)
    assert [each["number"] for each in found] == list(range(1, 60))


def test_a_child_lists_what_is_below_it_and_nothing_else() -> None:
    mine, other = spawn(), spawn()
    below = spawn(mine)
    leaf = spawn(below)
    spawn(other)
    token = child(mine)
    assert [each["id"] for each in walked(token, "sessions")] == [str(below.pk)]
    assert [each["id"] for each in walked(token, "sessions", parent=str(below.pk))] == [str(leaf.pk)]
    assert walked(token, "sessions", parent=str(other.pk)) == []
