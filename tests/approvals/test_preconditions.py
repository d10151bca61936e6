"""The facts that an action depends on: part of its digest, shown, stated again, and stale for good when they differ."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any
from uuid import UUID

import pytest
from django.test import Client

from accounts.actors import Actor
from accounts.models import Project, User
from approvals import consumption, decisions
from approvals.decision_validation import Answer
from approvals.life import preconditions
from approvals.models import Approval
from core.web.problems import Problem
from ledger.models import AuditEntry, Event
from tests.approvals.admin_page import page_of, text_of
from tests.approvals.conftest import Asked, child
from tests.approvals.test_rest import BODY, Caller

pytestmark = pytest.mark.django_db

HEAD = {"name": "git head", "value_hash": "a1", "shown": "main at a1 <b>"}
FILE = {"name": "deploy.yml", "value_hash": "f1", "shown": "42 lines"}
FACTS = [HEAD, FILE]


def stated(**values: str) -> list[dict[str, str]]:
    return [{"name": name.replace("_", " "), "value_hash": value} for name, value in values.items()]


NOW = [{"name": fact["name"], "value_hash": fact["value_hash"]} for fact in FACTS]


def consume(approval: Approval, facts: Any, claim: str = "mine") -> Approval:
    asker = child(approval.session or UUID(int=0))
    return consumption.consume(
        approval.project_id, approval.id, digest=approval.digest, claim=claim, preconditions=facts, actor=asker
    )


def refused(approval: Approval, facts: Any) -> Problem:
    with pytest.raises(Problem) as refusal:
        consume(approval, facts)
    return refusal.value


def test_they_are_part_of_the_digest_in_any_order(asked: Asked) -> None:
    plain = asked(request_id="1")
    assert (json.loads(plain.action)["v"], "preconditions" in json.loads(plain.action)) == (1, False)
    one = asked(request_id="2", preconditions=FACTS)
    assert (json.loads(one.action)["v"], one.preconditions) == (2, [FILE, HEAD])
    assert asked(request_id="2", preconditions=[FILE, HEAD]).id == one.id
    for other in ([HEAD], [HEAD, FILE | {"value_hash": "f2"}], [HEAD, FILE | {"shown": "other"}]):
        with pytest.raises(Problem) as refusal:
            asked(request_id="2", preconditions=other)
        assert refusal.value.type == "conflict"


def test_the_same_facts_let_it_run_once(approved: Asked) -> None:
    approval = approved(preconditions=FACTS)
    assert consume(approval, NOW[::-1]).consumed_at is not None
    assert consume(approval, NOW).consumed_at is not None
    with pytest.raises(Problem) as refusal:
        consume(approval, NOW, claim="another")
    assert refusal.value.type == "consumed"


@pytest.mark.parametrize(
    ("facts", "wanted"),
    [
        (stated(git_head="a2") + NOW[1:], [("git head", "changed", "a1", "a2")]),
        (NOW[1:], [("git head", "missing", "a1", None)]),
        (None, [("deploy.yml", "missing", "f1", None), ("git head", "missing", "a1", None)]),
        ([*NOW, *stated(row="7")], [("row", "unknown", None, "7")]),
    ],
)
def test_a_difference_makes_it_stale_for_good(
    approved: Asked, facts: Any, wanted: list[tuple[Any, ...]], desk: Client
) -> None:
    approval = approved(preconditions=FACTS)
    refusal = refused(approval, facts)
    assert (refusal.status, refusal.type) == (409, "stale")
    assert [tuple(each.values()) for each in refusal.extra["differences"]] == wanted
    again = refused(approval, NOW)
    assert (again.type, again.extra["differences"]) == ("stale", refusal.extra["differences"])
    approval.refresh_from_db()
    assert (approval.status, approval.consumed_at, approval.decision_kind) == ("approved", None, "approve")
    assert approval.stale_at is not None
    payload = Event.objects.get(type="approval_stale").payload
    assert (payload["reason"], payload["facts"]) == ("preconditions", [each[0] for each in wanted])
    assert AuditEntry.objects.filter(action="approval.stale").count() == 1
    shown = text_of(desk.get(page_of(approval)))
    assert "Stale: the answer is kept, and was not used." in shown
    assert "Consumed" not in shown


def test_an_action_without_facts_refuses_stated_ones(approved: Asked) -> None:
    assert refused(approved(), NOW).type == "stale"


def test_facts_do_not_hide_an_earlier_reason(asked: Asked, approved: Asked) -> None:
    pending = asked(preconditions=FACTS)
    assert refused(pending, None).type == "not-approved"
    pending.refresh_from_db()
    assert pending.stale_at is None
    other = approved(preconditions=FACTS)
    other.digest = "0" * 64
    assert refused(other, None).type == "digest-mismatch"


def test_a_run_that_came_first_is_not_made_stale(approved: Asked) -> None:
    approval = approved(preconditions=FACTS)
    late = preconditions.stale(approval, [])
    consume(approval, NOW)
    with pytest.raises(preconditions.Stale), preconditions.noting():
        raise late
    approval.refresh_from_db()
    assert (approval.stale_at, approval.consumed_at is None) == (None, False)


def test_an_edit_keeps_them(asked: Asked, alice: User) -> None:
    approval = asked(preconditions=FACTS)
    answer = Answer(decision="edit", digest=approval.digest, arguments={"command": "ls"})
    edited = decisions.decide(approval.project_id, approval.id, answer, Actor.of_user(alice), "admin")
    assert edited.preconditions == [FILE, HEAD]
    assert consume(edited, NOW).consumed_at is not None


def test_they_are_shown_to_staff_as_text(desk: Client, asked: Asked) -> None:
    shown = text_of(desk.get(page_of(asked(preconditions=[HEAD | {"value_hash": "a\u202e1"}]))))
    assert "main at a1 &lt;b&gt;" in shown
    assert "a\\u{202e}1" in shown


@pytest.mark.parametrize(
    ("facts", "field"),
    [
        ([HEAD, HEAD], "preconditions"),
        ([FACTS[0]] * 33, "preconditions"),
        ([{"name": "x", "value_hash": "1"}], "preconditions[0].shown"),
        ([HEAD | {"value_hash": ""}], "preconditions[0].value_hash"),
        ([HEAD | {"shown": "x" * 1025}], "preconditions[0].shown"),
        ([HEAD | {"more": 1}], "preconditions[0].more"),
        ("x", "preconditions"),
        ([7], "preconditions[0]"),
    ],
)
def test_they_are_bounded(asked: Asked, facts: Any, field: str) -> None:
    with pytest.raises(Problem) as refusal:
        asked(preconditions=facts)
    assert [error["field"] for error in refusal.value.extra["errors"]] == [field]


def test_by_rest(bearer: Callable[..., dict[str, str]], project: Project, alice: User) -> None:
    key = Caller(bearer(project, alice))
    asked = key.post("", BODY | {"preconditions": FACTS}).json()
    assert asked["preconditions"] == [FILE, HEAD]
    path = f"/{asked['id']}"
    assert key.post(f"{path}/decide", {"decision": "approve", "digest": asked["digest"]}).status_code == 200
    body = {"digest": asked["digest"], "claim": "c"}
    assert key.post(f"{path}/consume", body | {"preconditions": [{"name": "x"}]}).status_code == 422
    assert key.post(f"{path}/consume", body | {"preconditions": NOW[:1]}).json()["type"] == "stale"
    told = key.get(path).json()
    assert (told["status"], told["consumed_at"]) == ("approved", None)
    assert told["stale"] == [{"name": "deploy.yml", "reason": "missing", "approved": "f1", "stated": None}]
