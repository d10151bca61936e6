"""Consumed approvals with a run that ended, or that nobody reported."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any
from uuid import UUID

import pytest

from accounts.models import Project, User
from approvals import consumption
from approvals.models import Approval
from tests.approvals.conftest import Asked, child
from tests.approvals.test_rest import Caller

Taken = Callable[..., Approval]


@pytest.fixture
def taken(approved: Asked, session: UUID) -> Taken:
    """The same as `approved`, and consumed with the claim `mine`."""

    def take(**said: Any) -> Approval:
        approval = approved(**said)
        return consumption.consume(
            approval.project_id, approval.id, digest=approval.digest, claim="mine", actor=child(session)
        )

    return take


@pytest.fixture
def key(bearer: Callable[..., dict[str, str]], project: Project, alice: User) -> Caller:
    return Caller(bearer(project, alice))
