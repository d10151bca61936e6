"""One wrong message among many is named with its place, and harms no other."""

from __future__ import annotations

from typing import Any

import pytest

from tests.mailbox.faces import Caller

pytestmark = pytest.mark.django_db
DESK = "/api/v1/mailboxes/desk"
GOOD = {"id": "one", "message_kind": "task", "body": "do it"}


def test_every_field_that_is_wrong_in_a_message_is_named_also_among_many(caller: Caller) -> None:
    wrong = GOOD | {"from": {"sesion": "x"}, "corelation_id": "c", "body": "x", "id": 7}
    named = ["corelation_id", "id", "from.sesion"]
    assert [each["field"] for each in caller.post(f"{DESK}/messages", wrong).json()["errors"]] == named
    results = caller.post(f"{DESK}/messages", {"messages": [GOOD, wrong, "text"]}).json()["results"]
    assert [each["status"] for each in results] == [201, 422, 422]
    assert [each["field"] for each in results[1]["problem"]["errors"]] == [f"messages[1].{name}" for name in named]
    assert [each["field"] for each in results[2]["problem"]["errors"]] == ["messages[2]"]


def test_a_message_among_many_that_cannot_be_stored_is_named_too(caller: Caller, timings: Any) -> None:
    timings(max_body_bytes=1000)
    large, own = GOOD | {"id": "large", "body": "x" * 2000}, GOOD | {"id": "x\u202e"}
    results = caller.post(f"{DESK}/messages", {"messages": [GOOD, large, own]}).json()["results"]
    assert [each["status"] for each in results] == [201, 422, 422]
    fields = [[error["field"] for error in each["problem"]["errors"]] for each in results[1:]]
    assert fields == [["messages[1].body"], ["messages[2].id"]]
    assert [error["field"] for error in caller.post(f"{DESK}/messages", large).json()["errors"]] == ["body"]


@pytest.mark.parametrize("call", ["ack", "nack"])
@pytest.mark.parametrize("wrong", [7, None, {}, "x" * 257])
def test_an_id_among_many_that_is_wrong_is_named(caller: Caller, call: str, wrong: Any) -> None:
    refused = caller.post(f"{DESK}/{call}", {"claim": "c", "ids": ["a", "b", wrong]})
    assert refused.status_code == 422
    assert [error["field"] for error in refused.json()["errors"]] == ["ids[2]"]
