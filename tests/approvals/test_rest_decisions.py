"""Decide by REST: the errors that tell the caller how to decide."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from accounts.models import Project, User
from tests.approvals.conftest import Asked
from tests.approvals.test_rest import Caller

pytestmark = pytest.mark.django_db


@pytest.fixture
def key(bearer: Callable[..., dict[str, str]], project: Project, alice: User) -> Caller:
    return Caller(bearer(project, alice))


def test_the_error_of_a_decision_lists_what_this_request_takes(key: Any, asked: Asked) -> None:
    action, question = asked(), asked(allowed_decisions=["respond"], question="which?")
    for approval, decision, listed in (
        (action, "maybe", "approve, deny, edit"),
        (action, "respond", "approve, deny, edit"),
        (question, "maybe", "respond"),
        (question, "approve", "respond"),
        (question, 7, "respond"),
    ):
        [error] = key.post(f"/{approval.id}/decide", {"decision": decision}).json()["errors"]
        assert error["field"] == "decision"
        assert error["detail"].startswith(f"must be one of {listed}, and is "), error


def test_a_digest_may_be_in_upper_case(key: Any, asked: Asked) -> None:
    approval = asked()
    said = approval.digest.upper()
    assert said != approval.digest
    decided = key.post(f"/{approval.id}/decide", {"decision": "approve", "digest": said})
    assert (decided.status_code, decided.json()["digest"]) == (200, approval.digest)
    again = key.post(f"/{approval.id}/decide", {"decision": "approve", "digest": said})
    assert again.status_code == 200
