"""Each end is told once, with a word of its own, and each told request has its row."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any
from uuid import UUID

import pytest
from django.db import connections
from django.test import Client

from accounts.actors import Actor
from accounts.models import Project, User
from approvals import attempt_clock, audit_events, decisions
from approvals.decision_validation import Answer
from approvals.models import Approval
from core.db.clock import clock_at
from core.web.problems import Problem
from ledger import feed
from ledger.models import AuditEntry, Event
from tests.approvals.conftest import NOON, Asked
from tests.waiting import breathe

pytestmark = pytest.mark.django_db
#: Each way to end, with the word of the row and the reason in the event. No two are alike.
ENDS = {
    "approved": ("approval_decided", "approved", "approve"),
    "denied": ("approval_decided", "denied", "deny"),
    "expired": ("approval_expired", "expired", "deadline"),
    "withdrawn": ("approval_cancelled", "cancelled", "withdrawn"),
    "its attempt ended": ("approval_cancelled", "cancelled", "attempt_ended"),
}
TERMINAL = ("approval_decided", "approval_expired", "approval_cancelled")


def end(approval: Approval, how: str, user: User) -> None:
    """Try to end it. An end that comes too late is refused."""
    where, id = approval.project_id, approval.id
    try:
        match how:
            case "approved":
                answer = Answer(decision="approve", digest=approval.digest)
                decisions.decide(where, id, answer, Actor.of_user(user), "admin")
            case "denied":
                decisions.decide(where, id, Answer(decision="deny"), Actor.of_user(user), "admin")
            case "expired":
                with clock_at(NOON.replace(hour=13)):
                    decisions.expire_due()
            case "withdrawn":
                decisions.withdraw(where, id, Actor.system("tests"))
            case _:
                assert approval.session is not None
                attempt_clock.settle(approval.session, 1)
    except Problem as refusal:
        assert refusal.status in (409, 410), refusal


@pytest.mark.parametrize("how", ENDS)
def test_each_end_is_one_event_and_one_audit_row_with_its_own_word(asked: Asked, alice: User, how: str) -> None:
    with clock_at(NOON):
        approval = asked(expires_in_secs=600)
        for each in [how, *(other for other in ENDS if other != how)]:
            end(approval, each, alice)
    [told] = Event.objects.filter(type__in=TERMINAL)
    approval.refresh_from_db()
    assert (told.type, told.payload["status"], told.payload["reason"]) == ENDS[how]
    assert (approval.status, told.payload["version"]) == (ENDS[how][1], approval.version)
    rows = AuditEntry.objects.filter(action__in=[each.replace("_", ".") for each in TERMINAL])
    assert [row.subject for row in rows] == [f"approval:{approval.id}"]


def test_a_request_whose_event_cannot_be_written_is_not_there(asked: Asked, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*of: Any, **said: Any) -> None:
        raise RuntimeError("no event")

    monkeypatch.setattr(audit_events, "record_change", broken)
    with pytest.raises(RuntimeError, match="no event"):
        asked()
    assert not Approval.objects.exists()


@pytest.mark.django_db(transaction=True)
def test_whoever_sees_the_event_of_a_request_finds_its_row(asked: Asked, project: Project) -> None:
    def ask() -> None:
        try:
            for _ in range(25):
                asked()
        finally:
            connections.close_all()

    asker, cursor, seen = threading.Thread(target=ask), 0, 0
    asker.start()
    while asker.is_alive() or seen < 25:
        for event in feed.beyond(project.pk, cursor).events:
            cursor = event.cursor
            if event.type == "approval_requested":
                seen += 1
                assert Approval.objects.filter(id=UUID(event.payload["approval_id"]), status="pending").exists()
        breathe(0.002)
    asker.join()
    assert seen == 25


def test_a_reader_that_begins_in_the_middle_ends_with_what_the_database_has(
    asked: Asked, project: Project, alice: User, bearer: Callable[..., dict[str, str]]
) -> None:
    """A snapshot, and then the feed from its cursor: no end is missed, and none is told twice."""
    headers = bearer(project, scopes=["feed:read", "approvals:read"])

    def get(path: str, **query: Any) -> Any:
        return Client().get(f"/api/v1/{path}", query, headers=headers).json()

    def deny(approval: Approval) -> None:
        decisions.decide(project.pk, approval.id, Answer(decision="deny"), Actor.of_user(alice), "admin")

    before = [asked() for _ in range(4)]
    deny(before[0])
    seen = get("snapshot")
    state = {each["id"]: each["status"] for each in seen["approvals"]}
    assert state == {str(each.id): "pending" for each in before[1:]}
    late = asked()
    deny(before[1])
    decisions.withdraw(project.pk, before[2].id, Actor.system("tests"))
    told = [event for event in get("feed", after=seen["cursor"])["results"] if event["type"].startswith("approval_")]
    assert len(told) == 3
    for event in told:
        state[event["payload"]["approval_id"]] = event["payload"]["status"]
    waiting = {id for id, status in state.items() if status == "pending"}
    assert waiting == {str(each.id) for each in Approval.objects.filter(status="pending")}
    assert str(late.id) in waiting
