"""The requester, or a person who may answer, acts on a request. For other requesters it does not exist."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any
from uuid import UUID, uuid4

import pytest

from accounts.actors import Actor
from accounts.models import Project, User
from approvals import decisions
from approvals.decision_validation import Answer
from approvals.models import Approval
from tests.approvals.conftest import Asked, staff
from tests.approvals.test_rest import BODY, Caller
from tests.people import owner

pytestmark = pytest.mark.django_db
ASK = ["approvals:ask"]
Calls = dict[str, Callable[[Caller, Any], Any]]

CALLS: Calls = {
    "withdraw": lambda caller, asked: caller.post(f"/{asked['id']}/withdraw", {}),
    "consume": lambda caller, asked: caller.post(f"/{asked['id']}/consume", {"digest": asked["digest"]}),
    "wait": lambda caller, asked: caller.get(f"/{asked['id']}/wait", timeout="0"),
    "get": lambda caller, asked: caller.get(f"/{asked['id']}"),
    "decide": lambda caller, asked: caller.post(f"/{asked['id']}/decide", {"decision": "deny"}),
}
ACTS = ("withdraw", "consume")


@pytest.fixture
def executor(bearer: Any, project: Project) -> Caller:
    """One team's executor. It asks, and runs the approved action."""
    return Caller(bearer(project, staff("executor", project, "ask"), scopes=ASK))


@pytest.fixture
def other(bearer: Any, project: Project) -> Caller:
    """Another executor of the same project."""
    return Caller(bearer(project, staff("other", project, "ask"), scopes=ASK))


def approve(asked: dict[str, Any]) -> None:

    row = Approval.objects.get(pk=asked["id"])
    answer = Answer(decision="approve", digest=asked["digest"])
    decisions.decide(row.project_id, row.id, answer, Actor.of_user(owner()), "admin")


@pytest.mark.parametrize("call", CALLS)
def test_what_another_asked_is_as_unknown_as_what_nobody_asked(executor: Caller, other: Caller, call: str) -> None:
    asked = executor.post(body=BODY).json()
    approve(asked)
    known, unknown = (CALLS[call](other, {**asked, "id": each}) for each in (asked["id"], uuid4()))
    assert (known.status_code, known.json()) == (404, unknown.json())
    row = Approval.objects.get()
    assert (row.status, row.consumed_at, row.delivered_at) == ("approved", None, None)


def test_who_asked_may_look_wait_and_run_it(executor: Caller) -> None:
    asked = executor.post(body=BODY).json()
    assert executor.get(f"/{asked['id']}").json()["id"] == asked["id"]
    approve(asked)
    assert CALLS["wait"](executor, asked).json()["status"] == "approved"
    assert CALLS["consume"](executor, asked).status_code == 200


@pytest.mark.parametrize("call", ACTS)
def test_another_key_of_the_same_person_acts_as_the_first(
    executor: Caller, bearer: Any, project: Project, call: str
) -> None:
    asked = executor.post(body=BODY).json()
    if call == "consume":
        approve(asked)
    rotated = Caller(bearer(project, User.objects.get(username="executor"), scopes=ASK))
    assert CALLS[call](rotated, asked).status_code == 200


@pytest.mark.parametrize("call", ACTS)
def test_who_may_only_read_is_refused_what_is_anothers(
    executor: Caller, bearer: Any, project: Project, viewer: User, call: str
) -> None:
    asked = executor.post(body=BODY).json()
    approve(asked)
    reader = Caller(bearer(project, viewer, scopes=[*ASK, "approvals:read"]))
    refused = CALLS[call](reader, asked)
    assert (refused.status_code, refused.json()["type"]) == (403, "forbidden")
    assert CALLS["wait"](reader, asked).status_code == 200
    assert Approval.objects.get().consumed_at is None


@pytest.mark.parametrize("call", ACTS)
def test_who_may_answer_may_act_for_the_asker(
    executor: Caller, bearer: Any, project: Project, alice: User, call: str
) -> None:
    asked = executor.post(body=BODY).json()
    if call == "consume":
        approve(asked)
    decider = Caller(bearer(project, alice, scopes=[*ASK, "approvals:decide"]))
    assert CALLS[call](decider, asked).status_code == 200


def test_what_was_asked_for_a_session_is_the_sessions_too(
    bearer: Any, project: Project, executor: Caller, session: UUID
) -> None:
    asked = executor.post(body=BODY | {"session": str(session)}).json()
    approve(asked)
    assert CALLS["consume"](Caller(bearer(project, session=session)), asked).status_code == 200


@pytest.mark.parametrize("call", ACTS)
def test_what_a_child_asked_is_not_for_keys_that_only_ask(other: Caller, approved: Asked, call: str) -> None:
    approval = approved()
    asked = {"id": approval.id, "digest": approval.digest}
    assert CALLS[call](other, asked).status_code == 404
    assert Approval.objects.get().consumed_at is None


def test_a_guessed_request_id_hands_out_nothing(executor: Caller, other: Caller) -> None:
    asked = executor.post(body=BODY).json()
    assert executor.post(body=BODY).json()["id"] == asked["id"]
    refused = other.post(body=BODY)
    assert refused.status_code == 409
    assert asked["id"] not in refused.content.decode()


def test_a_key_without_any_of_these_scopes_is_told_403_for_known_and_unknown(
    executor: Caller, bearer: Any, project: Project
) -> None:
    asked = executor.post(body=BODY).json()
    none = Caller(bearer(project, owner(), scopes=["feed:read"]))
    for call in CALLS.values():
        known, unknown = (call(none, {**asked, "id": each}) for each in (asked["id"], uuid4()))
        assert (known.status_code, known.json()) == (403, unknown.json())
