"""Remembered approvals, and the sessions that later ask."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from datetime import datetime
from typing import Any

import pytest

from accounts.actors import Actor
from accounts.models import User
from approvals import decisions, requests
from approvals.canonical_action import Ask
from approvals.decision_validation import Answer
from approvals.models import Approval, Grant
from core.db.clock import clock_at
from orchestration.models import Session
from tests.approvals.conftest import Asked, child

Remembered = Callable[..., Grant]
_numbers = itertools.count(1)
HARMLESS = {"reversibility": "reversible", "risk": "low"}


def ask_as(session: Session, **said: Any) -> Approval:
    """Ask for the command of the fixture `asked`, over the connection of this session."""
    words: dict[str, Any] = {
        "request_id": f"as-{next(_numbers)}",
        "tool_name": "shell",
        "permission": "execute",
        "resource": "ls -l",
        "arguments": {"command": "ls -l", "folder": "/tmp"},
    }
    ask = Ask(session=session.pk, attempt=session.attempt, **words | HARMLESS | said)
    return requests.ask(session.project_id, ask, actor=child(session.pk, session.attempt), via="connection")[0]


def remember(approval: Approval, by: User, now: datetime | None = None, **said: Any) -> Approval:
    """Approve it, or edit it if there are `arguments`, and remember that; by default exactly, for its session."""
    arguments = said.pop("arguments", None)
    answer = Answer(
        decision="approve" if arguments is None else "edit",
        digest=approval.digest,
        arguments=arguments,
        remember={"scope": "session"} | said,
    )
    with clock_at(now):
        return decisions.decide(approval.project_id, approval.id, answer, Actor.of_user(by), "admin")


@pytest.fixture
def remembered(asked: Asked, alice: User) -> Remembered:
    """Ask with the words of `ask`, and let Alice approve and remember it."""

    def make(ask: dict[str, Any] | None = None, now: datetime | None = None, **said: Any) -> Grant:
        approval = asked(**HARMLESS | (ask or {}), now=now)
        return Grant.objects.get(id=remember(approval, alice, now, **said).remembered)

    return make
