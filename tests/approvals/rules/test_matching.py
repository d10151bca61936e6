"""Every part of a match narrows it, the most restrictive rule wins, and doubt means asking people."""

from __future__ import annotations

import json
from typing import Any

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from accounts.models import Project
from approvals import askers
from approvals.askers import SessionFacts
from approvals.models import Approval, Rule
from approvals.rules import compiled, editing
from core.db import returning
from ledger.models import AuditEntry, Event
from tests.approvals.conftest import Asked
from tests.approvals.rules.conftest import EDITOR, Ruled, body

pytestmark = pytest.mark.django_db


@pytest.fixture
def known(monkeypatch: pytest.MonkeyPatch, session: Any) -> Any:
    """Give the session that asks these facts."""

    def give(**facts: Any) -> None:
        monkeypatch.setattr(askers, "_facts_of", lambda *_: SessionFacts(**facts))

    return give


@pytest.mark.parametrize(
    ("match", "matches"),
    [
        ({}, True),
        ({"tools": ["shell"]}, True),
        ({"tools": ["sh*"]}, True),
        ({"tools": ["Shell", "python"]}, False),
        ({"permissions": ["execute"]}, True),
        ({"permissions": ["read", "write"]}, False),
        ({"resources": ["ls *"]}, True),
        ({"resources": ["rm *"]}, False),
        ({"risk": ["medium"]}, True),
        ({"risk": ["low", "high"]}, False),
        ({"reversibility": ["irreversible"]}, True),
        ({"reversibility": ["read_only"]}, False),
        ({"when": 'arguments.command == "ls -l"'}, True),
        ({"when": 'arguments.command == "rm"'}, False),
        ({"when": 'approval.risk == "medium" && approval.permission == "execute"'}, True),
        ({"tools": ["shell"], "permissions": ["execute"], "resources": ["rm *"]}, False),
        ({"roles": ["deployer"]}, True),
        ({"roles": ["reader"]}, False),
        ({"tree_roles": ["boss"]}, True),
        ({"tree_roles": ["deployer"]}, True),
        ({"tree_roles": ["reader"]}, False),
        ({"depth": {"min": 1}}, True),
        ({"depth": {"max": 0}}, False),
        ({"when": 'session.role == "deployer" && session.depth == 1 && "boss" in session.roles'}, True),
        ({"when": "size(session.path) == 2 && session.root == session.path[0]"}, True),
        ({"when": 'session.metadata.team == "red"'}, True),
    ],
)
def test_every_part_of_a_match_must_hold(
    asked: Asked, ruled: Ruled, known: Any, session: Any, match: Any, matches: bool
) -> None:
    known(path=(session, session), role="deployer", metadata=lambda: {"team": "red"}, roles_above=lambda: ("boss",))
    ruled(match=match)
    assert asked().status == ("denied" if matches else "pending")


@pytest.mark.parametrize("match", [{"roles": ["x"]}, {"tree_roles": ["x"]}, {"depth": {"min": 0}}])
def test_a_request_without_a_session_has_no_role_and_no_depth(
    asked: Asked, ruled: Ruled, known: Any, alice: Any, match: Any
) -> None:
    from accounts.actors import Actor

    known(role="x")
    ruled(match=match)
    assert asked(session=None, attempt=None, via="rest", actor=Actor.of_user(alice)).status == "pending"


@pytest.mark.parametrize(
    ("outcomes", "status"),
    [
        (["allow"], "approved"),
        (["ask"], "pending"),
        (["review"], "pending"),
        (["allow", "deny", "ask", "review"], "denied"),
        (["allow", "ask"], "pending"),
        (["allow", "review"], "pending"),
        (["deny", "allow"], "denied"),
    ],
)
def test_the_most_restrictive_outcome_wins(asked: Asked, ruled: Ruled, outcomes: list[str], status: str) -> None:
    for outcome in outcomes:
        ruled(name=f"rule {outcome}", outcome=outcome)
    assert asked().status == status


def test_the_row_the_event_and_the_audit_name_the_rule(asked: Asked, ruled: Ruled, project: Project) -> None:
    rule = ruled(name="no shells", match={"tools": ["shell"]}, message="Use the editor.")
    approval = asked()
    assert (approval.rule, approval.rule_version, approval.message) == ("no shells", 1, "Use the editor.")
    assert (approval.decided_via, approval.decided_by["name"]) == ("rule", "the rule no shells")
    assert approval.policy_version == Event.objects.get(type="policy_changed").payload["version"]
    said = json.loads(AuditEntry.objects.get(action="approval.decided").detail)
    assert (said["rule"], said["rule_version"]) == ("no shells", 1)
    editing.change(project.pk, rule.id, body(name="no shells", outcome="allow"), EDITOR)
    allowed = asked()
    assert (allowed.status, allowed.rule_version, allowed.message) == ("approved", 2, None)


@pytest.mark.parametrize("outcome", ["deny", "allow"])
def test_a_condition_that_cannot_be_evaluated_means_ask(asked: Asked, ruled: Ruled, outcome: str) -> None:
    ruled(name="allow all", outcome="allow")
    ruled(name="unsure", outcome=outcome, match={"when": "arguments.amount > 5"})
    approval = asked()
    assert (approval.status, approval.rule) == ("pending", "unsure")
    assert approval.terms["undecided"] == [{"name": "unsure", "reason": "a member is missing"}]
    assert Event.objects.get(type="approval_requested").payload["undecided"]
    assert asked(arguments={"amount": 6}).status == ("denied" if outcome == "deny" else "approved")


def test_a_denial_is_not_stopped_by_an_undecided_rule(asked: Asked, ruled: Ruled) -> None:
    ruled(name="unsure", outcome="allow", match={"when": "arguments.amount > 5"})
    ruled(name="never")
    assert asked().status == "denied"


def test_an_unproven_role_lets_no_rule_allow(asked: Asked, ruled: Ruled, known: Any) -> None:
    ruled(name="by role", outcome="allow", match={"roles": ["deployer"]})
    ruled(name="by condition", outcome="allow", match={"when": 'session.role == "deployer"'})
    ruled(name="by tree", outcome="allow", match={"tree_roles": ["deployer"]})
    known(role="deployer")
    assert asked().status == "pending"
    known(role="deployer", has_role_reach=True)
    assert asked().status == "approved"


def test_rules_raise_risk_and_reversibility_and_never_lower_them(asked: Asked, ruled: Ruled) -> None:
    ruled(name="raise", outcome="allow", raise_risk="high", raise_reversibility="externally_reversible")
    ruled(name="high", outcome="ask", match={"risk": ["high"], "when": 'approval.risk == "high"'})
    approval = asked(reversibility="read_only")
    assert (approval.risk, approval.reversibility, approval.rule) == ("high", "externally_reversible", "high")
    assert Event.objects.get(type="approval_requested").payload["risk"] == "high"
    graver = asked(risk="critical")
    assert (graver.risk, graver.reversibility, graver.status) == ("critical", "irreversible", "approved")


def test_a_question_is_not_allowed_by_a_rule_but_may_be_denied(asked: Asked, ruled: Ruled, project: Project) -> None:
    rule = ruled(outcome="allow")
    assert asked(allowed_decisions=["respond"]).status == "pending"
    editing.delete(project.pk, rule.id, EDITOR)
    ruled(outcome="deny")
    assert asked(allowed_decisions=["respond", "deny"]).status == "denied"


def test_rules_of_another_project_and_disabled_ones_count_for_nothing(
    asked: Asked, ruled: Ruled, elsewhere: Project
) -> None:
    editing.create(elsewhere.pk, body(), EDITOR)
    assert asked().status == "pending"
    ruled(enabled=False)
    assert asked().status == "pending"


def test_a_rule_of_exact_tools_is_found_without_a_look_at_the_others(ruled: Ruled, project: Project) -> None:
    for name, match in (
        ("tool", {"tools": ["shell", "python"], "permissions": ["p"]}),
        ("glob", {"tools": ["sh*"]}),
        ("permission", {"permissions": ["execute"], "roles": ["r"]}),
        ("role", {"roles": ["deployer"]}),
        ("other tool", {"tools": ["editor"]}),
    ):
        ruled(name=name, match=match)
    rules = compiled.of(project.pk, 1)
    assert [rule.name for rule in rules.found("shell", "execute", "")] == ["tool", "permission", "glob"]
    assert [rule.name for rule in rules.found("x", "y", "deployer")] == ["role", "glob"]


def test_rules_are_compiled_once_for_each_version(
    asked: Asked, ruled: Ruled, monkeypatch: pytest.MonkeyPatch, project: Project
) -> None:
    built: list[Rule] = []
    plain = compiled.compiled
    monkeypatch.setattr(compiled, "compiled", lambda rule: built.append(rule) or plain(rule))
    ruled()
    for _ in range(3):
        assert asked().status == "denied"
    assert len(built) == 1


def test_an_ask_reads_rules_only_after_a_change(asked: Asked, ruled: Ruled) -> None:
    def readings() -> int:
        with CaptureQueriesContext(connection) as ran:
            asked()
        return sum('FROM "approvals_rule"' in each["sql"] for each in ran.captured_queries)

    assert readings() == 0
    ruled(match={"tools": ["other"]})
    assert [readings(), readings()] == [1, 0]


@pytest.mark.parametrize("broken", [{"match": {"when": "1 +"}}, {"match": {"gone": 1}}, {"approvers": {"quorum": "x"}}])
def test_a_rule_that_cannot_be_read_any_more_asks_people_and_stops_nobody(
    asked: Asked, ruled: Ruled, project: Project, broken: Any
) -> None:
    ruled(name="allow all", outcome="allow")
    rule = ruled(name="broken", match={"tools": ["other"]})
    Rule.objects.filter(id=rule.id).update(**broken)
    ruled(name="newer", outcome="allow")
    approval = asked()
    assert (approval.status, approval.rule) == ("pending", "broken")
    assert approval.terms["undecided"] == [{"name": "broken", "reason": "the rule cannot be read"}]


def test_the_version_is_read_with_the_row(project: Project, ruled: Ruled, asked: Asked) -> None:
    first = asked()
    ruled(outcome="ask")
    second = asked()
    assert first.policy_version is None
    assert second.policy_version > 10**15
    from approvals.models import PolicyVersion

    [again] = returning.update(Approval.objects.filter(id=first.id), policy_version=PolicyVersion())
    assert again.policy_version == second.policy_version
