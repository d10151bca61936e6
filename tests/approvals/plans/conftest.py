"""Plans that were asked for and approved."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from accounts.actors import Actor
from accounts.models import User
from approvals import decisions
from approvals.decision_validation import Answer
from approvals.models import Approval, Plan
from tests.approvals.conftest import Asked
from tests.approvals.grants.conftest import remembered  # noqa: F401 - a fixture

MILD = {"risk": "low", "reversibility": "reversible"}
LIST: dict[str, Any] = {"tool_name": "shell", "permission": "execute", "resource": "ls -l", **MILD}
LIST["arguments"] = {"command": "ls -l", "folder": "/tmp"}
WRITE: dict[str, Any] = {
    "tool_name": "write",
    "permission": "write",
    "glob": "src/*.py",
    **MILD,
    "arguments": {"mode": 420},
}
WRITE["patterns"] = {"path": {"glob": "src/*.py"}}

Planned = Callable[..., Plan]


def approve(approval: Approval, by: User, arguments: Any = None) -> Approval:
    """Approve a plan, or make another manifest of it."""
    kind = "approve" if arguments is None else "edit"
    answer = Answer(decision=kind, digest=approval.digest, arguments=arguments)
    return decisions.decide(approval.project_id, approval.id, answer, Actor.of_user(by), "admin")


@pytest.fixture
def asked_plan(asked: Asked) -> Callable[..., Approval]:
    """Ask for a plan of these steps."""

    def ask(*steps: dict[str, Any], **plan: Any) -> Approval:
        said = {"tool_name": "plan", "permission": "plan", "resource": "tidy up", "arguments": None}
        return asked(**said, plan={"steps": list(steps) or [LIST]} | plan)

    return ask


@pytest.fixture
def planned(asked_plan: Callable[..., Approval], alice: User) -> Planned:
    """The same, approved by Alice."""

    def make(*steps: dict[str, Any], **plan: Any) -> Plan:
        return Plan.objects.get(id=approve(asked_plan(*steps, **plan), alice).id)

    return make
