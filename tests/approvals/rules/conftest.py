"""Rules made in one line, and sessions with roles."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from accounts.actors import Actor
from accounts.models import Project
from approvals.models import Rule
from approvals.rules import editing
from approvals.rules.bodies import RuleBody
from core.web import request_body
from tests.approvals.conftest import alice, asked, bearer, bob, browser, desk, elsewhere, project, session  # noqa: F401

EDITOR = Actor.system("tests")
Ruled = Callable[..., Rule]


def body(**said: Any) -> RuleBody:
    """A checked body of a rule that denies every request, unless told otherwise."""
    return request_body.convert({"name": "one", "outcome": "deny", **said}, RuleBody)


@pytest.fixture
def ruled(project: Project) -> Ruled:  # noqa: F811
    """Add a rule to the project."""

    def add(**said: Any) -> Rule:
        return editing.create(project.pk, body(**said), EDITOR)

    return add
