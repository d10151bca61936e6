"""Many decisions in one call: each item stands alone, and the same batch again decides nothing twice."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any
from uuid import uuid4

import pytest
from django.test import Client

from accounts.models import Project, User
from approvals.models import Approval
from ledger.models import AuditEntry
from tests.approvals.conftest import Asked

pytestmark = pytest.mark.django_db
URL = "/api/v1/approvals/batch-decide"
Bearer = Callable[..., dict[str, str]]


def item(approval: Approval, decision: str, **more: Any) -> dict[str, Any]:
    return {"id": str(approval.id), "digest": approval.digest, "decision": decision} | more


def send(headers: dict[str, str], *items: Any, url: str = URL, **more: str) -> Any:
    body = json.dumps({"items": list(items)})
    return Client().post(url, body, content_type="application/json", headers=headers | more)


def results(answer: Any) -> list[tuple[Any, Any]]:
    assert answer.status_code == 200, answer.content
    return [(each["status"], each.get("problem", {}).get("type")) for each in answer.json()["results"]]


def test_each_item_has_its_own_result(project: Project, alice: User, asked: Asked, bearer: Bearer) -> None:
    one, other, changed, late = asked(), asked(), asked(), asked(expires_in_secs=60)
    question = asked(allowed_decisions=["respond"], arguments=None)
    Approval.objects.filter(pk=late.pk).update(expires_at=late.requested_at)
    unknown = {"id": str(uuid4()), "digest": "0" * 64, "decision": "deny"}
    answer = send(
        bearer(project, alice),
        item(one, "approve"),
        item(changed, "approve", digest="0" * 64),
        unknown,
        item(other, "deny", message="Not today."),
        item(late, "deny"),
        item(question, "approve"),
        item(asked(), "deny", version=7),
    )
    assert results(answer) == [
        (200, None),
        (409, "digest-mismatch"),
        (404, "not-found"),
        (200, None),
        (410, "expired"),
        (422, "invalid"),
        (409, "version-conflict"),
    ]
    assert answer.json()["results"][5]["problem"]["errors"][0]["field"] == "items[5].decision"
    assert [each["id"] for each in answer.json()["results"]][:2] == [str(one.id), str(changed.id)]
    other.refresh_from_db()
    assert (other.message, other.decided_via) == ("Not today.", "rest")
    assert AuditEntry.objects.filter(action="approval.decided").count() == 2


def test_the_same_batch_again_is_answered_alike(project: Project, alice: User, asked: Asked, bearer: Bearer) -> None:
    items = [item(asked(), "approve"), item(asked(), "deny")]
    first, again = (send(bearer(project, alice), *items, items[0]) for _ in range(2))
    assert results(first) == results(again) == [(200, None), (200, None), (200, None)]
    assert AuditEntry.objects.filter(action="approval.decided").count() == 2


def test_a_decision_of_another_person_is_told(
    project: Project, alice: User, bob: User, asked: Asked, bearer: Bearer
) -> None:
    approval = asked()
    send(bearer(project, bob), item(approval, "deny"))
    answer = send(bearer(project, alice), item(approval, "approve"))
    assert results(answer) == [(409, "already-decided")]
    assert "bob" in answer.json()["results"][0]["problem"]["detail"]


def test_requests_of_another_project_are_unknown(
    project: Project, stranger: User, elsewhere: Project, asked: Asked, bearer: Bearer
) -> None:
    approval = asked()
    assert results(send(bearer(elsewhere, stranger), item(approval, "deny"))) == [(404, "not-found")]
    approval.refresh_from_db()
    assert approval.status == "pending"


@pytest.mark.parametrize(
    ("scopes", "status"),
    [(["approvals:ask"], 403), (["approvals:read"], 403), (["approvals:decide"], 200), (["feed:read"], 403)],
)
def test_it_takes_the_scope_of_decide(
    project: Project, alice: User, asked: Asked, bearer: Bearer, scopes: list[str], status: int
) -> None:
    answer = send(bearer(project, alice, scopes=scopes), item(asked(), "deny"))
    assert answer.status_code == status
    assert Approval.objects.get().status == ("denied" if status == 200 else "pending")


def test_a_child_answers_nothing(project: Project, asked: Asked, bearer: Bearer) -> None:
    approval = asked()
    answer = send(bearer(project, session=approval.session), item(approval, "approve"))
    assert (answer.status_code, answer.json()["type"]) == (403, "not-an-approver")


@pytest.mark.parametrize(
    "items",
    [
        [],
        [{"id": str(uuid4()), "digest": "x", "decision": "deny"}] * 101,
        ["x"],
        [{"id": "x", "digest": "x", "decision": "deny"}],
        [{"id": str(uuid4()), "decision": "deny"}],
        [{"id": str(uuid4()), "digest": "x", "decision": "edit"}],
        [{"id": str(uuid4()), "digest": "x", "decision": "deny", "message": "x" * 20_000}],
        [{"id": str(uuid4()), "digest": "x", "decision": "deny", "by": "bob"}],
    ],
)
def test_a_body_that_is_not_valid_decides_nothing(
    project: Project, alice: User, asked: Asked, bearer: Bearer, items: list[Any]
) -> None:
    approval = asked()
    answer = send(bearer(project, alice), *([item(approval, "deny")] if items else []), *items)
    assert (answer.status_code, answer.json()["type"]) == (422, "invalid")
    approval.refresh_from_db()
    assert approval.status == "pending"


def test_it_takes_no_idempotency_key(project: Project, alice: User, asked: Asked, bearer: Bearer) -> None:
    """With a key, handler and key are one transaction. Here each item has its own."""
    answer = send(bearer(project, alice), item(asked(), "deny"), **{"Idempotency-Key": "k"})
    assert answer.status_code == 422
