"""Plans by REST: asked for, approved, listed with their slots, revoked."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from django.test import Client

from accounts.models import Project, User
from tests.approvals.plans.conftest import LIST, WRITE, Planned
from tests.approvals.test_rest import Caller

pytestmark = pytest.mark.django_db

PLAN = {"request_id": "p-1", "tool_name": "plan", "permission": "plan", "resource": "tidy up"}


class PlanCaller(Caller):
    def plans(self, path: str = "", **params: Any) -> Any:
        return self.client.get(f"/api/v1/plans{path}", params, headers=self.headers)

    def revoke(self, id: Any) -> Any:
        address = f"/api/v1/plans/{id}/revoke"
        return Client().post(address, {}, content_type="application/json", headers=self.headers)


@pytest.fixture
def key(bearer: Callable[..., dict[str, str]], project: Project, alice: User) -> PlanCaller:
    return PlanCaller(bearer(project, alice))


def test_a_plan_from_the_ask_to_its_end(key: PlanCaller, session: Any) -> None:
    body = {**PLAN, "session": str(session), "plan": {"steps": [{**WRITE, "count": 2}, LIST], "ordered": True}}
    asked = key.post(body=body)
    assert asked.status_code == 202, asked.json()
    plan = asked.json()
    assert (plan["is_plan"], plan["reversibility"], plan["plan"]) == (True, "reversible", None)
    assert key.post(body=body).json()["id"] == plan["id"]
    assert key.post(body={**body, "plan": {"steps": [LIST]}}).status_code == 409
    decided = key.post(f"/{plan['id']}/decide", {"decision": "approve", "digest": plan["digest"]})
    assert decided.status_code == 200, decided.json()
    assert key.post(f"/{plan['id']}/consume", {"digest": plan["digest"]}).json()["type"] == "not-approved"
    arguments = {"path": "src/a.py", "mode": 420}
    call = {name: WRITE[name] for name in ("tool_name", "permission", "risk", "reversibility")}
    call |= {"request_id": "c-1", "resource": "src/a.py", "arguments": arguments, "session": str(session)}
    passed = key.post(body=call).json()
    assert (passed["status"], passed["plan"], passed["grant"]) == ("approved", plan["id"], None)
    assert key.post(f"/{passed['id']}/consume", {"digest": passed["digest"]}).status_code == 200
    [listed] = key.plans(state="live", session=str(session)).json()["results"]
    assert listed == key.plans(f"/{plan['id']}").json()
    assert [(step["used"], step["left"], step["count"]) for step in listed["steps"]] == [(1, 1, 2), (0, 1, 1)]
    assert (listed["state"], listed["ordered"], listed["granted_by"]["user"]) == ("live", True, "alice")
    revoked = key.revoke(plan["id"])
    assert (revoked.status_code, revoked.json()["state"]) == (200, "revoked")
    assert key.post(body=call | {"request_id": "c-2"}).json()["status"] == "pending"


def test_the_list_has_pages_and_a_foreign_plan_does_not_exist(
    key: PlanCaller, bearer: Callable[..., dict[str, str]], elsewhere: Project, stranger: User, planned: Planned
) -> None:
    first, second = planned(), planned()
    page = key.plans(limit=1).json()
    rest = key.plans(cursor=page["next"]).json()["results"]
    assert [page["results"][0]["id"], *(each["id"] for each in rest)] == [str(second.id), str(first.id)]
    foreign = PlanCaller(bearer(elsewhere, stranger))
    assert foreign.plans().json()["results"] == []
    assert (foreign.plans(f"/{first.id}").status_code, foreign.revoke(first.id).status_code) == (404, 404)


def test_secrets_of_a_plan_are_hidden(key: PlanCaller, planned: Planned) -> None:
    plan = planned({**LIST, "arguments": {"password": "hunter2-hunter2"}})
    assert b"hunter2" not in key.plans(f"/{plan.id}").content + key.plans().content
