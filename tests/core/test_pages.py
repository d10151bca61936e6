"""Cursor pages: nothing twice, nothing skipped, while rows come and go."""

from __future__ import annotations

from typing import Any

import pytest

from accounts.models import Project
from core.web import pages
from core.web.problems import Problem

pytestmark = pytest.mark.django_db


def shape(project: Project) -> dict[str, str]:
    return {"slug": project.slug}


def walk(descending: bool = False, between: Any = lambda: None, limit: str = "2") -> list[str]:
    found, cursor = [], None
    while True:
        params = {"limit": limit} | ({"cursor": cursor} if cursor else {})
        answer = pages.page(Project.objects.all(), params, shape, key=("created_at", "pk"), descending=descending)
        found += [row["slug"] for row in answer["results"]]
        between()
        cursor = answer["next"]
        if cursor is None:
            return found


@pytest.fixture(autouse=True)
def seven() -> None:
    Project.objects.all().delete()
    for number in range(7):
        Project.objects.create(slug=f"p{number}")


@pytest.mark.parametrize("descending", [False, True])
def test_pages_in_both_directions_cover_all_rows_once(descending: bool) -> None:
    assert sorted(walk(descending)) == [f"p{number}" for number in range(7)]


def test_rows_that_vanish_behind_the_cursor_shift_nothing() -> None:
    assert set(walk(between=lambda: Project.objects.filter(slug="p0").delete())) >= {f"p{n}" for n in range(1, 7)}


@pytest.mark.parametrize("limit", ["0", "201", "-1", "x", "", "²"])
def test_a_bad_limit_is_refused(limit: str) -> None:
    with pytest.raises(Problem, match="valid") as refusal:
        walk(limit=limit)
    assert refusal.value.status == 422


@pytest.mark.parametrize("cursor", ["x", "bnVsbA", "WzFd", "W251bGwsbnVsbF0", "é"])
def test_a_cursor_that_is_not_of_this_list_is_refused(cursor: str) -> None:
    with pytest.raises(Problem) as refusal:
        pages.page(Project.objects.all(), {"cursor": cursor}, shape)
    assert refusal.value.status == 422
