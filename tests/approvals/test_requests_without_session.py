"""Requests without a session end with no attempt, so they are bounded by themselves: of one key, and of one project."""

from __future__ import annotations

from typing import Any

import pytest

from accounts.models import Project
from approvals.models import Approval
from tests.approvals.conftest import Asked, staff
from tests.approvals.racing import all_at_once
from tests.approvals.test_rest import BODY, Caller

ASK = ["approvals:ask"]


@pytest.fixture
def bounds(timings: Any) -> Any:
    def set_(**wanted: int) -> None:
        timings(**{f"pending_approvals_per_{name}": many for name, many in wanted.items()})

    return set_


def ask(caller: Caller, number: int) -> Any:
    return caller.post(body=BODY | {"request_id": f"r-{number}"})


@pytest.fixture
def robot(bearer: Any, project: Project) -> Caller:
    return Caller(bearer(project, staff("robot", project, "ask"), scopes=ASK))


@pytest.mark.django_db
def test_a_key_has_so_many_pending_and_no_more(robot: Caller, bounds: Any) -> None:
    bounds(key=3)
    asked = [ask(robot, number) for number in range(3)]
    assert [each.status_code for each in asked] == [202] * 3
    refused = ask(robot, 3)
    assert (refused.status_code, refused.json()["type"]) == (429, "too-many")
    assert int(refused.headers["Retry-After"]) > 0
    assert Approval.objects.count() == 3


@pytest.mark.django_db
def test_the_same_request_again_and_one_after_another_is_over_are_taken(robot: Caller, bounds: Any) -> None:
    bounds(key=1)
    first = ask(robot, 0).json()
    assert ask(robot, 0).json()["id"] == first["id"]
    assert ask(robot, 1).status_code == 429
    assert robot.post(f"/{first['id']}/withdraw", {}).status_code == 200
    assert ask(robot, 1).status_code == 202


@pytest.mark.django_db
def test_a_project_has_so_many_pending_whoever_asks(
    robot: Caller, bearer: Any, project: Project, elsewhere: Project, bounds: Any
) -> None:
    bounds(key=2, project=3)
    other = Caller(bearer(project, staff("other", project, "ask"), scopes=ASK))
    foreign = Caller(bearer(elsewhere, staff("foreign", elsewhere, "ask"), scopes=ASK))
    assert [ask(robot, number).status_code for number in range(2)] == [202, 202]
    assert [ask(other, number).status_code for number in range(2, 4)] == [202, 429]
    assert ask(foreign, 0).status_code == 202


@pytest.mark.django_db
def test_what_is_asked_for_a_session_counts_there_alone(robot: Caller, asked: Asked, session: Any, bounds: Any) -> None:
    bounds(key=1, project=1)
    asked()
    assert ask(robot, 0).status_code == 202
    assert robot.post(body=BODY | {"request_id": "r-1", "session": str(session)}).status_code == 202


@pytest.mark.django_db(transaction=True)
def test_many_at_once_count_each_other(bearer: Any, project: Project, bounds: Any) -> None:
    bounds(key=4)
    callers = [Caller(bearer(project, staff("robot", project, "ask"), scopes=ASK))]
    callers += [Caller(callers[0].headers) for _ in range(11)]
    calls = [
        lambda caller=caller, number=number: ask(caller, number).status_code for number, caller in enumerate(callers)
    ]
    assert sorted(all_at_once(calls)) == [202] * 4 + [429] * 8
    assert Approval.objects.count() == 4
