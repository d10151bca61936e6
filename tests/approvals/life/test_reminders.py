"""A reminder by hand, and the marks of an edit on the page."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.test import Client

from accounts.actors import Actor
from accounts.models import User
from approvals.life import reminders
from approvals.models import Approval, Step
from core.db.clock import clock_at
from core.web.problems import Problem
from ledger.models import AuditEntry, Event
from tests.approvals.admin_page import page_of, press, text_of
from tests.approvals.conftest import NOON, Asked, child

pytestmark = pytest.mark.django_db


def remind(approval: Approval, actor: Actor) -> Approval:
    return reminders.remind(approval.project_id, approval.id, actor, "please")


def test_the_asker_and_an_approver_remind_once_a_minute(asked: Asked, alice: User, viewer: User) -> None:
    approval = asked(now=NOON)
    with clock_at(NOON):
        assert remind(approval, child(approval.session)).version == approval.version
        with pytest.raises(Problem) as soon:
            remind(approval, Actor.of_user(alice))
        assert soon.value.type == "too-many"
    with clock_at(NOON + timedelta(seconds=61)):
        remind(approval, Actor.of_user(alice))
    with clock_at(NOON + timedelta(seconds=200)), pytest.raises(Problem) as refused:
        remind(approval, Actor.of_user(viewer))
    assert refused.value.type == "not-an-approver"
    assert list(Step.objects.values_list("kind", "note")) == [("reminded", "please")] * 2
    assert {each.payload["reason"] for each in Event.objects.filter(type="approval_reminded")} == {"by_hand"}
    assert AuditEntry.objects.filter(action="approval.reminded").count() == 2


def test_a_settled_request_is_not_reminded_of(approved: Asked, alice: User) -> None:
    with pytest.raises(Problem) as refused:
        remind(approved(), Actor.of_user(alice))
    assert refused.value.type == "already-decided"


def test_a_release_is_offered_with_a_claim_alone(desk: Client, asked: Asked) -> None:
    approval = asked()
    assert 'value="release"' not in text_of(desk.get(page_of(approval)))
    desk.post(page_of(approval).replace("/change/", "/step/"), {"step": "claim"})
    assert 'value="release"' in text_of(desk.get(page_of(approval)))


def test_an_edit_marks_changed_added_and_removed_arguments(desk: Client, asked: Asked) -> None:
    approval = asked(arguments={"command": "ls -l", "folder": "/tmp", "same": 1})
    press(desk, approval, "edit", command="ls", arguments='{"same": 1, "more": null}')
    shown = text_of(desk.get(page_of(approval)))
    marks = {mark: shown.count(f"ap-mark-{mark}") for mark in ("changed", "added", "removed")}
    assert marks == {"changed": 2, "added": 1, "removed": 1}
