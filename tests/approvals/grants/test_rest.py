"""Grants by REST: born from a decision, listed with their counts, revoked."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from django.test import Client

from accounts.models import Project, User
from approvals.models import Grant
from tests.approvals.conftest import Asked, staff
from tests.approvals.grants.conftest import HARMLESS, Remembered
from tests.approvals.test_rest import Caller

pytestmark = pytest.mark.django_db


def page_of(grant: Grant) -> str:
    return f"/admin/approvals/grant/{grant.id}/change/"


class GrantCaller(Caller):
    def grants(self, **params: Any) -> Any:
        return self.client.get("/api/v1/grants", params, headers=self.headers)

    def grant(self, id: Any) -> Any:
        return self.client.get(f"/api/v1/grants/{id}", headers=self.headers)

    def revoke(self, id: Any, body: Any = None) -> Any:
        address = f"/api/v1/grants/{id}/revoke"
        return Client().post(address, body or {}, content_type="application/json", headers=self.headers)


@pytest.fixture
def key(bearer: Callable[..., dict[str, str]], project: Project, alice: User) -> GrantCaller:
    return GrantCaller(bearer(project, alice))


def test_a_decision_makes_a_grant_that_is_listed_and_revoked(key: GrantCaller, asked: Asked) -> None:
    approval = asked(**HARMLESS)
    said = {"scope": "session", "exact": True, "uses": 2, "expires_in_secs": 600}
    decided = key.post(f"/{approval.id}/decide", {"decision": "approve", "digest": approval.digest, "remember": said})
    assert decided.status_code == 200, decided.json()
    id = decided.json()["remembered"]
    passed = key.post(f"/{asked(**HARMLESS).id}/decide", {"decision": "deny"})
    assert passed.status_code == 409
    assert passed.json()["approval"]["decided_by"]["name"].startswith(f"the grant {id[:8]} of alice's key ")
    [listed] = key.grants(state="live").json()["results"]
    assert listed == key.grant(id).json()
    assert (listed["id"], listed["uses"], listed["used"], listed["left"]) == (id, 2, 1, 1)
    assert (listed["state"], listed["is_carried"], listed["arguments"]) == ("live", True, approval.arguments)
    assert (listed["granted_by"]["user"], listed["approval"]) == ("alice", str(approval.id))
    revoked = key.revoke(id)
    assert (revoked.status_code, revoked.json()["state"]) == (200, "revoked")
    assert key.revoke(id).json() == revoked.json()
    assert asked(**HARMLESS).status == "pending"
    assert key.grants(state="live").json()["results"] == []
    assert [each["id"] for each in key.grants(state="revoked,used_up").json()["results"]] == [id]


def test_the_list_is_filtered_and_has_pages(key: GrantCaller, remembered: Remembered) -> None:
    first, second = remembered({"tool_name": "one"}), remembered({"tool_name": "two"}, scope="tree")

    def found(**params: Any) -> list[str]:
        return [each["id"] for each in key.grants(**params).json()["results"]]

    assert found() == [str(second.id), str(first.id)]
    assert found(tool="one") == found(scope="session") == [str(first.id)]
    assert len(found(session=str(first.session))) == 2
    page = key.grants(limit=1).json()
    assert [page["results"][0]["id"], *found(cursor=page["next"])] == [str(second.id), str(first.id)]
    for wrong in ({"state": "awake"}, {"scope": "world"}, {"session": "x"}, {"mood": "live"}):
        assert key.grants(**wrong).status_code == 422


def test_a_secret_of_the_action_is_hidden_and_still_compared(
    key: GrantCaller, desk: Client, asked: Asked, remembered: Remembered
) -> None:
    ask = {"arguments": {"command": "ls", "password": "hunter2-hunter2"}}
    grant = remembered(ask)
    shown = key.grant(grant.id).content + key.grants().content + desk.get(page_of(grant)).content
    assert b"hunter2" not in shown
    assert asked(**HARMLESS | {"arguments": {"command": "ls", "password": "hunter2-hunter2"}}).status == "approved"
    assert asked(**HARMLESS | {"arguments": {"command": "ls", "password": "other-secret-2"}}).status == "pending"


def test_a_foreign_grant_does_not_exist(
    bearer: Callable[..., dict[str, str]], elsewhere: Project, stranger: User, remembered: Remembered
) -> None:
    grant, foreign = remembered(), GrantCaller(bearer(elsewhere, stranger))
    assert foreign.grants().json()["results"] == []
    assert (foreign.grant(grant.id).status_code, foreign.revoke(grant.id).status_code) == (404, 404)
    assert Grant.objects.get().ended_at is None


def test_a_child_and_a_key_that_only_reads_revoke_nothing(
    bearer: Callable[..., dict[str, str]], project: Project, remembered: Remembered
) -> None:
    grant = remembered()
    reader = GrantCaller(bearer(project, staff("reader", project, "view_approval"), scopes=["approvals:read"]))
    child = GrantCaller(bearer(project, session=grant.session))
    assert reader.grant(grant.id).status_code == 200
    assert (reader.revoke(grant.id).status_code, child.revoke(grant.id).status_code) == (403, 403)
    assert (child.grants().status_code, child.grant(grant.id).status_code) == (403, 403)
    assert Grant.objects.get().ended_at is None


def test_a_remember_that_is_wrong_names_each_field(key: GrantCaller, asked: Asked) -> None:
    approval = asked(**HARMLESS)
    said: dict[str, Any] = {"scope": "world", "uses": 0, "slots": {"folder": {"regex": "."}}}
    answer = {"decision": "approve", "digest": approval.digest, "remember": said}
    refused = key.post(f"/{approval.id}/decide", answer)
    assert refused.status_code == 422
    assert {each["field"] for each in refused.json()["errors"]} == {
        "remember.scope",
        "remember.uses",
        "remember.slots",
    }
    assert key.post(f"/{approval.id}/decide", answer | {"remember": "always"}).status_code == 422
    assert not Grant.objects.exists()
