"""The indexes of the queue: requests alike, the target of a request, and approvals that never ran."""

from __future__ import annotations

from typing import Any
from uuid import uuid4

import pytest

from accounts.actors import Actor
from accounts.models import Project, User
from approvals import attempt_clock, selectors
from approvals.life import routing
from approvals.models import Approval
from tests.approvals.conftest import Asked

pytestmark = pytest.mark.django_db


def test_the_same_action_is_alike_whoever_asks(asked: Asked, project: Project) -> None:
    other = uuid4()
    attempt_clock.open(project.pk, other, 1)
    one = asked()
    assert len(one.likeness) == 64
    same: list[dict[str, Any]] = [
        {},
        {"session": other},
        {"risk": "high"},
        {"question": "please"},
        {"expires_in_secs": 60},
    ]
    for said in same:
        assert asked(**said).likeness == one.likeness, said
    fact = {"name": "head", "value_hash": "a", "shown": "b"}
    others: list[dict[str, Any]] = [{"tool_name": "mail"}, {"permission": "p"}, {"resource": "r"}, {"arguments": {}}]
    for said in others:
        assert asked(**said).likeness != one.likeness, said
    assert asked(preconditions=[fact]).likeness != one.likeness


def test_the_assignee_follows_every_writer(asked: Asked, project: Project, alice: User) -> None:
    approval = asked()
    assert approval.assignee == ""
    routing.delegate(project.pk, approval.id, Actor.of_user(alice), user="alice")
    assert list(Approval.objects.filter(selectors.addressed_to(alice), assignee=f"user:{alice.pk}")) == [approval]
    group = alice.groups.get()
    Approval.objects.filter(pk=approval.pk).update(assigned_to={"kind": "group", "id": str(group.pk), "name": "x"})
    assert list(Approval.objects.filter(selectors.for_groups_of(alice), assignee=f"group:{group.pk}")) == [approval]
    Approval.objects.filter(pk=approval.pk).update(assigned_to={"kind": "user", "id": "0", "name": "x"})
    assert not Approval.objects.filter(selectors.addressed_to(alice)).exists()
    Approval.objects.filter(pk=approval.pk).update(assigned_to=None)
    approval.refresh_from_db()
    assert approval.assignee == ""


def test_a_stale_approval_and_one_of_an_attempt_that_is_over_never_run(
    approved: Asked, asked: Asked, project: Project
) -> None:
    ended = uuid4()
    attempt_clock.open(project.pk, ended, 1)
    over, stale = approved(session=ended), approved()
    approved()
    approved(session=None, attempt=None, actor=Actor.system("x"), via="rest")
    asked()
    assert not selectors.never_run(Approval.objects.all()).exists()
    attempt_clock.settle(ended, 1)
    Approval.objects.filter(pk=stale.pk).update(stale_at=stale.requested_at, stale=[])
    assert set(selectors.never_run(Approval.objects.all())) == {over, stale}
