"""A change of the rules reaches a connected child at once, and a reconnecting one at the begin of its connection."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import pytest

from accounts import projects
from accounts.actors import Actor
from approvals.models import Policy
from approvals.rules import editing
from approvals.rules.bodies import RuleBody
from tests.orchestration.connections.conftest import Server, Spawn

SELF = Actor.system("tests")


def change(outcome: str = "ask") -> int:
    project = projects.default().pk
    editing.create(project, RuleBody(name=f"rule {time.monotonic_ns()}", outcome=outcome), SELF)
    return int(Policy.objects.get(project=project).version)


@pytest.fixture
def poll_late(timings: Callable[..., None]) -> None:
    timings(connection_poll_secs=120)


def test_a_connected_child_hears_of_a_change_within_a_second(server: Server, child: Spawn, poll_late: Any) -> None:
    with server.child(child) as peer:
        for _ in range(2):
            version = change()
            assert peer.hear("policy_changed", timeout=5)["version"] == version
        assert peer.silent()


def test_a_reconnecting_child_hears_of_the_version_that_it_missed(server: Server, child: Spawn) -> None:
    with server.child(child) as peer:
        assert peer.silent()
    version = change()
    with server.child(child, run=False) as peer:
        assert peer.hear("policy_changed")["version"] == version
        peer.say("approval_request", id="one", body={"tool_name": "t", "permission": "p", "resource": ""})
        assert peer.hear("approval_registered")["status"] == "pending"


def test_a_plain_child_hears_nothing_of_it(server: Server, child: Spawn) -> None:
    with server.plain(child) as peer:
        peer.hear("run")
        change()
        assert peer.silent(1)


def test_the_rules_know_role_and_tree_of_a_session(server: Server, spawn: Callable[..., Spawn]) -> None:
    from orchestration.models import Session

    parent, below = spawn(role="boss"), spawn(role="worker")
    Session.objects.filter(pk=parent.id).update(has_role_reach=True)
    Session.objects.filter(pk=below.id).update(parent_id=parent.id, root=parent.id, depth=1)
    from approvals.rules.bodies import RuleMatch

    match = RuleMatch(tree_roles=["boss"], when='session.role == "worker" && session.roles == ["boss", "worker"]')
    editing.create(projects.default().pk, RuleBody(name="tree", outcome="deny", match=match), SELF)
    body = {"tool_name": "t", "permission": "p", "resource": ""}
    for session, status in ((below, "denied"), (parent, "pending")):
        with server.child(session) as peer:
            peer.hear("policy_changed")
            peer.say("approval_request", id="one", body=body)
            assert peer.hear("approval_registered")["status"] == status
