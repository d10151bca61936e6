"""The owner of a session is the person who started it. Under four eyes that person does not answer its requests."""

from __future__ import annotations

import pytest
from django.contrib.auth.models import Permission

from accounts import projects
from accounts.actors import Actor
from accounts.models import User
from approvals import decisions, requests
from approvals.canonical_action import Ask
from approvals.decision_validation import Answer
from approvals.models import Approval
from approvals.rules import editing
from approvals.rules.bodies import RuleBody
from core.web.problems import Problem
from orchestration.models import Session
from orchestration.sessions import spawn, transitions
from orchestration.sessions.spawn import SpawnOrder
from orchestration.states import Status

pytestmark = pytest.mark.django_db


def person(name: str) -> User:
    user = User.objects.create_user(name, is_staff=True)
    user.user_permissions.set(Permission.objects.filter(codename__in=("decide", "change_session")))
    projects.default().groups.add(user.groups.create(name=f"team of {name}"))
    return user


def started(by: Actor, parent: Session | None = None) -> Session:
    order = SpawnOrder(assignment="x", runner="external", parent=parent.pk if parent else None)
    made = spawn.spawn(projects.default(), order, by).session
    return transitions.move(made.pk, 1, Status.RUNNING)


def child(of: Session) -> Actor:
    return Actor(kind="child", id=f"{of.pk}/1", name="child", session=of.pk, attempt=1)


def ask(session: Session) -> Approval:
    wanted = Ask(session=session.pk, attempt=1, request_id="r", tool_name="t", permission="p", resource="")
    return requests.ask(projects.default().pk, wanted, actor=child(session), via="connection")[0]


def test_a_childs_children_have_its_owner_and_nobody_else_inherits_one() -> None:
    alice, bob = person("alice"), person("bob")
    top = started(Actor.of_user(alice))
    assert started(child(top), top).owner == alice
    assert started(Actor.of_user(bob), top).owner == bob
    assert started(Actor.system("tests")).owner is None


def test_the_owner_of_the_tree_does_not_answer_under_four_eyes() -> None:
    alice, bob = person("alice"), person("bob")
    project = projects.default().pk
    editing.create(project, RuleBody(name="eyes", outcome="ask", four_eyes=True), Actor.system("tests"))
    top = started(Actor.of_user(alice))
    approval = ask(started(child(top), top))
    answer = Answer(decision="approve", digest=approval.digest)
    with pytest.raises(Problem) as refused:
        decisions.decide(project, approval.id, answer, Actor.of_user(alice), "admin")
    assert refused.value.type == "self-approval"
    assert decisions.decide(project, approval.id, answer, Actor.of_user(bob), "admin").status == "approved"
