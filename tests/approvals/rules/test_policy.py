"""A change of the rules counts at once: for the next ask of every process, and for an approval that has not run."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from typing import Any

import pytest

from accounts.actors import Actor
from accounts.models import Project
from approvals import askers, consumption
from approvals.askers import SessionFacts
from approvals.models import Approval
from approvals.rules import editing
from core.web.problems import Problem
from tests.approvals.conftest import Asked, approved, child  # noqa: F401
from tests.approvals.rules.conftest import EDITOR, Ruled, body
from tests.servers.databases import ROOT

pytestmark = pytest.mark.django_db


def consume(approval: Approval) -> Approval:
    who = Actor.system("tests")
    return consumption.consume(approval.project_id, approval.id, digest=approval.digest, claim="c", actor=who)


@pytest.mark.django_db(transaction=True)
def test_the_next_ask_of_another_process_knows_a_changed_rule(ruled: Ruled, project: Project) -> None:
    rule = ruled(match={"tools": ["other"]})
    command = [sys.executable, "-m", "tests.approvals.rules.asking", str(project.pk)]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, cwd=ROOT, stdin=pipe, stdout=pipe, text=True) as process:
        stdin, stdout = process.stdin, process.stdout
        assert stdin is not None and stdout is not None

        def ask() -> str:
            stdin.write("ask\n")
            stdin.flush()
            return stdout.readline().strip()

        assert ask() == "pending"
        editing.change(project.pk, rule.id, body(match={"tools": ["shell"]}), EDITOR)
        assert ask() == "denied"
        editing.change(project.pk, rule.id, body(outcome="allow"), EDITOR)
        assert ask() == "approved"
        editing.delete(project.pk, rule.id, EDITOR)
        assert ask() == "pending"
        stdin.close()


def test_a_rule_that_denies_now_stops_the_consumption_and_nothing_else_does(
    approved: Callable[..., Approval],  # noqa: F811
    ruled: Ruled,
    project: Project,
) -> None:
    approval = approved()
    rule = ruled(name="later", outcome="ask", four_eyes=True)
    editing.change(project.pk, rule.id, body(name="later", match={"tools": ["shell"]}), EDITOR)
    with pytest.raises(Problem) as refused:
        consume(approval)
    assert (refused.value.type, refused.value.status) == ("policy-changed", 409)
    assert refused.value.extra == {"rule": "later", "rule_version": 2}
    assert Approval.objects.get(id=approval.id).consumed_at is None
    for said in (
        {"outcome": "ask", "four_eyes": True},
        {"match": {"tools": ["other"]}},
        {"match": {"when": "arguments.missing == 1"}},
        {"shadow": True},
        {"enabled": False},
    ):
        editing.change(project.pk, rule.id, body(name="later", **said), EDITOR)
        fresh = approved()
        assert consume(fresh).consumed_at is not None, said


def test_a_denial_by_role_stops_it_too(
    approved: Callable[..., Approval],  # noqa: F811
    ruled: Ruled,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(askers, "_facts_of", lambda *_: SessionFacts(role="deployer"))
    one, other = approved(), approved()
    ruled(match={"roles": ["deployer"]})
    with pytest.raises(Problem) as refused:
        consume(one)
    assert refused.value.type == "policy-changed"
    monkeypatch.setattr(askers, "_facts_of", lambda *_: SessionFacts(role="reader"))
    assert consume(other).consumed_at is not None


def test_an_execution_that_was_taken_before_the_rule_stays_taken(
    approved: Callable[..., Approval],  # noqa: F811
    ruled: Ruled,
) -> None:
    approval = approved()
    consume(approval)
    ruled()
    assert consume(approval).consumed_at is not None


def test_a_plain_ask_and_a_plain_consumption_know_no_rules(
    approved: Callable[..., Approval],  # noqa: F811
    asked: Asked,
) -> None:
    assert consume(approved()).policy_version is None


def test_shadow_answers_are_kept_beside_the_request(
    asked: Asked, ruled: Ruled, desk: Any, alice: Any, project: Project
) -> None:
    ruled(name="silent", shadow=True, outcome="deny")
    ruled(name="unsure", shadow=True, outcome="allow", match={"when": "arguments.missing == 1"})
    ruled(name="no match", shadow=True, match={"tools": ["other"]})
    approval = asked()
    assert (approval.status, approval.rule) == ("pending", None)
    assert [(each.name, each.outcome) for each in approval.shadows.all()] == [("silent", "deny"), ("unsure", "ask")]
    shown = desk.get(f"/admin/approvals/approval/{approval.id}/change/").content.decode()
    assert "silent would deny it" in shown


@pytest.mark.parametrize("when", ['arguments.password == "hunter2hunter2"', 'approval.question.contains("hunter2")'])
def test_a_silent_rule_answers_no_question_about_a_hidden_value(ruled: Ruled, asked: Asked, when: str) -> None:
    ruled(name="curious", shadow=True, match={"when": when})
    ruled(name="usual", shadow=True, match={"when": 'arguments.command == "ls"'})
    words = {"arguments": {"command": "ls", "password": "hunter2hunter2"}, "question": "password=hunter2hunter2 ?"}
    assert [each.name for each in asked(**words).shadows.all()] == ["usual"]
    # One that answers reads the real values.
    ruled(name="real", match={"when": when})
    assert asked(**words).rule == "real"
