"""Named approvers and four eyes: only the right people answer, and a broken glass is on the record."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
from django.contrib.auth.models import Group, Permission
from django.test import Client

from accounts.actors import Actor
from accounts.models import Project, User
from approvals import askers, decisions
from approvals.askers import SessionFacts
from approvals.decision_validation import Answer
from approvals.life import claims, routing
from approvals.models import Approval
from approvals.rules import editing
from core.web.problems import Problem
from ledger.models import AuditEntry
from tests.approvals.conftest import Asked, staff
from tests.approvals.rules.conftest import EDITOR, Ruled, body

pytestmark = pytest.mark.django_db
WHY = "The other approver is on a plane."


def answer(approval: Approval, user: User, decision: str = "approve", **said: Any) -> Approval:
    said = {"decision": decision, "digest": approval.digest, **said}
    return decisions.decide(approval.project_id, approval.id, Answer(**said), Actor.of_user(user), "rest")


def refusal(approval: Approval, user: User, decision: str = "approve", **said: Any) -> str:
    with pytest.raises(Problem) as refused:
        answer(approval, user, decision, **said)
    return refused.value.type


@pytest.fixture
def owned(monkeypatch: pytest.MonkeyPatch, alice: User, session: Any) -> None:
    """Alice owns the session."""
    monkeypatch.setattr(askers, "_facts_of", lambda *_: SessionFacts(owner=alice.pk))


def test_only_named_people_answer(asked: Asked, ruled: Ruled, project: Project, alice: User, bob: User) -> None:
    carol = staff("carol", project, "decide")
    team = Group.objects.create(name="release")
    project.groups.add(team)
    carol.groups.add(team)
    ruled(outcome="ask", approvers={"users": ["bob"], "groups": ["release"]})
    approval = asked()
    assert [refusal(approval, alice, each) for each in ("approve", "deny")] == ["not-an-approver"] * 2
    assert answer(approval, bob).status == "approved"
    assert answer(asked(), carol, "deny").status == "denied"


def test_a_request_for_one_name_is_in_the_queue_of_that_one(
    asked: Asked, ruled: Ruled, project: Project, alice: User, bob: User
) -> None:
    rule = ruled(outcome="ask", approvers={"users": ["bob"]})
    assert asked().assigned_to == {"kind": "user", "id": str(bob.pk), "name": "bob"}
    team = Group.objects.get(name=f"team of {project}")
    editing.change(project.pk, rule.id, body(outcome="ask", approvers={"groups": [team.name]}), EDITOR)
    assert asked().assigned_to == {"kind": "group", "id": str(team.pk), "name": team.name}
    editing.change(project.pk, rule.id, body(outcome="ask", approvers={"users": ["alice", "bob"]}), EDITOR)
    assert asked().assigned_to is None


def test_a_person_must_be_named_by_every_rule_that_names_some(
    asked: Asked, ruled: Ruled, project: Project, alice: User, bob: User
) -> None:
    ruled(name="a", outcome="ask", approvers={"users": ["alice", "bob"]})
    ruled(name="b", outcome="ask", approvers={"users": ["bob"]})
    ruled(name="c", outcome="ask")
    approval = asked()
    assert refusal(approval, alice) == "not-an-approver"
    assert answer(approval, bob).status == "approved"


def test_a_delegation_adds_an_approver_and_nobody_takes_one_for_themselves(
    asked: Asked, ruled: Ruled, project: Project, alice: User, bob: User
) -> None:
    ruled(outcome="ask", approvers={"users": ["bob"]})
    approval = asked()
    for act in (routing.delegate, routing.escalate):
        with pytest.raises(Problem) as refused:
            act(project.pk, approval.id, Actor.of_user(alice), user="alice")
        assert refused.value.type == "not-an-approver"
    with pytest.raises(Problem):
        claims.claim(project.pk, approval.id, Actor.of_user(alice))
    routing.delegate(project.pk, approval.id, Actor.of_user(bob), user="alice")
    assert answer(approval, alice, "deny").status == "denied"


def test_a_later_change_of_the_rule_changes_no_request(
    asked: Asked, ruled: Ruled, project: Project, alice: User, bob: User
) -> None:
    rule = ruled(outcome="ask", approvers={"users": ["bob"]}, four_eyes=True)
    approval = asked()
    editing.change(project.pk, rule.id, body(outcome="ask", approvers={"users": ["alice"]}), EDITOR)
    assert refusal(approval, alice) == "not-an-approver"
    editing.delete(project.pk, rule.id, EDITOR)
    assert refusal(approval, alice) == "not-an-approver"
    assert answer(approval, bob).four_eyes


def test_the_owner_of_the_session_may_not_answer_under_four_eyes(
    asked: Asked, ruled: Ruled, owned: None, alice: User, bob: User
) -> None:
    unruled = asked()
    ruled(outcome="ask", four_eyes=True)
    approval = asked()
    assert [refusal(approval, alice, each) for each in ("approve", "deny")] == ["self-approval"] * 2
    assert answer(approval, bob).status == "approved"
    assert answer(unruled, alice).status == "approved"


def test_the_owner_of_the_key_may_not_answer_with_another_key_of_theirs(
    ruled: Ruled, project: Project, alice: User, bearer: Callable[..., dict[str, str]]
) -> None:
    ruled(outcome="ask", four_eyes=True)

    def call(path: str, said: Any) -> Any:
        headers = bearer(project, alice, scopes=("approvals:ask", "approvals:decide"))
        return Client().post(f"/api/v1/approvals{path}", said, "application/json", headers=headers)

    ask = {"request_id": "r", "tool_name": "t", "permission": "p", "resource": "r"}
    made = call("", ask).json()
    refused = call(f"/{made['id']}/decide", {"decision": "approve", "digest": made["digest"]})
    assert (refused.status_code, refused.json()["type"]) == (403, "self-approval")
    assert (made["four_eyes"], made["rule"]) == (True, "one")


def test_glass_is_broken_with_a_permission_and_a_sentence_and_leaves_a_record(
    asked: Asked, ruled: Ruled, owned: None, project: Project, alice: User
) -> None:
    ruled(outcome="ask", four_eyes=True)
    approval = asked()
    assert refusal(approval, alice, break_glass=WHY) == "self-approval"
    alice.user_permissions.add(Permission.objects.get(codename="break_glass"))
    alice = User.objects.get(pk=alice.pk)
    assert refusal(approval, alice) == "self-approval"
    for short in ("because", "one two three", 5):
        assert refusal(approval, alice, break_glass=short) == "invalid"
    done = answer(approval, alice, break_glass=WHY)
    assert (done.status, done.break_glass) == ("approved", WHY)
    assert json.loads(AuditEntry.objects.get(action="approval.decided").detail)["break_glass"] == WHY


def test_a_sentence_that_nobody_needed_is_not_recorded(
    asked: Asked, ruled: Ruled, owned: None, bob: User, project: Project
) -> None:
    ruled(outcome="ask", four_eyes=True)
    assert answer(asked(), bob, break_glass=WHY).break_glass is None


def test_the_glass_opens_no_named_door(asked: Asked, ruled: Ruled, owned: None, alice: User, bob: User) -> None:
    alice.user_permissions.add(Permission.objects.get(codename="break_glass"))
    ruled(outcome="ask", four_eyes=True, approvers={"users": ["bob"]})
    assert refusal(asked(), User.objects.get(pk=alice.pk), break_glass=WHY) == "not-an-approver"


def test_the_page_tells_who_may_answer_and_offers_the_glass(
    asked: Asked, ruled: Ruled, owned: None, desk: Client, alice: User
) -> None:
    ruled(name="eyes", outcome="ask", four_eyes=True)
    approval = asked()
    page = f"/admin/approvals/approval/{approval.id}/change/"
    shown = desk.get(page).content.decode()
    assert "who asked may not answer" in shown and 'name="decision"' not in shown
    alice.user_permissions.add(Permission.objects.get(codename="break_glass"))
    shown = desk.get(page).content.decode()
    assert 'name="break_glass"' in shown and 'value="approve"' in shown
    said = {"decision": "approve", "digest": approval.digest, "version": "1", "break_glass": WHY}
    desk.post(f"/admin/approvals/approval/{approval.id}/decide/", said)
    approval.refresh_from_db()
    assert (approval.status, approval.break_glass) == ("approved", WHY)
    assert WHY in desk.get(page).content.decode()
