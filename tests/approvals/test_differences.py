"""An edit is shown at the places that it changed, also inside of an argument, and says each thing once."""

from __future__ import annotations

import json
from typing import Any

import pytest
from django.test import Client

from approvals.display import differences
from tests.approvals.admin_page import page_of, press, text_of
from tests.approvals.conftest import Asked

ORDERS = {"orders": [{"id": 1, "state": "open"}, {"id": 2, "state": "open"}], "notify": True, "dry": False}


def places(before: Any, after: Any) -> list[tuple[str, str]]:
    return [(each.mark, each.place) for each in differences.between(before, after)]


@pytest.mark.parametrize(
    ("before", "after", "found"),
    [
        ({"a": 1}, {"a": 1}, []),
        ({"a": 1}, {"a": True}, [("changed", "a")]),
        ({"a": None}, {}, [("removed", "a")]),
        ({}, {"b c": 1}, [("added", '["b c"]')]),
        ({"a": {"b": [1, 2]}}, {"a": {"b": [1, 3]}}, [("changed", "a.b[1]")]),
        # An item in front leaves the others as they are.
        ([1, 2, 3], [0, 1, 2, 3], [("added", "[0]")]),
        ([1, 2, 3], [2, 3], [("removed", "[0]")]),
        ([{"x": 1}], [{"x": 2}, 5], [("changed", "[0].x"), ("added", "[1]")]),
        ({"a": [1]}, {"a": {"0": 1}}, [("changed", "a")]),
        # The whole is the difference.
        ("one", "two", []),
        ([1], {"a": 1}, []),
    ],
)
def test_the_places_of_an_edit(before: Any, after: Any, found: Any) -> None:
    assert places(before, after) == found


def test_the_places_are_bounded_in_number_and_depth() -> None:
    assert len(places(list(range(500)), [])) == differences.MOST + 1
    one: dict[str, Any]
    other: dict[str, Any]
    one, other = {"x": 1}, {"x": 2}
    for _ in range(100):
        one, other = {"d": one}, {"d": other}
    assert places(one, other) == [("changed", ".".join(["d"] * differences.DEEPEST))]


@pytest.mark.django_db
def test_the_page_names_the_places_of_an_edit(desk: Client, asked: Asked) -> None:
    approval = asked(tool_name="http", arguments={"body": ORDERS, "list": ["a", "<b>"]})
    orders = [{"id": 1, "state": "open"}, {"id": 2, "state": "closed"}, 3]
    after = json.dumps({"body": {"orders": orders, "dry": False}, "list": ["a"]})
    assert press(desk, approval, "edit", arguments=after).status_code == 302
    shown = text_of(desk.get(page_of(approval)))
    effective = shown.partition("Approved to run instead")[2]
    assert shown.count("data-places") == 2
    for mark, place, value in (
        ("changed", "orders[1].state", "&quot;open&quot; &rarr; &quot;closed&quot;"),
        ("added", "orders[2]", "3"),
        ("removed", "notify", "true"),
        ("removed", "[1]", "&quot;&lt;b&gt;&quot;"),
    ):
        line = effective.partition(f'>{mark}</span> <span class="wr-mono">{place}<')[2].partition("</li>")[0]
        assert value in " ".join(line.split()), (place, line)


@pytest.mark.django_db
def test_a_page_says_when_an_edit_has_more_places(desk: Client, asked: Asked) -> None:
    approval = asked(tool_name="http", arguments={"list": list(range(60))})
    press(desk, approval, "edit", arguments='{"list": []}', seen=approval.digest)
    assert "There are more places than these." in text_of(desk.get(page_of(approval)))


@pytest.mark.django_db
def test_an_edit_with_two_commands_is_refused(desk: Client, asked: Asked) -> None:
    """Neither may win unseen over the other."""
    approval = asked(arguments={"command": "ls", "n": 1})
    shown = press(desk, approval, "edit", command="ls -l", arguments='{"command": "rm -r .", "n": 1}')
    assert shown.status_code == 422
    assert "the command stands in its own field" in text_of(shown)
    approval.refresh_from_db()
    assert approval.status == "pending"
