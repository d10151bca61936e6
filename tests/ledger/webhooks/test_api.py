"""The REST calls of webhooks."""

from __future__ import annotations

import json
from typing import Any

import pytest
from django.test import Client

from accounts import credentials
from accounts.models import IdempotencyKey, Project
from ledger.deliveries import round
from ledger.models import AuditEntry, Delivery, Webhook
from tests.ledger.webhooks.conftest import add, happen
from tests.ledger.webhooks.receiver import Receiver
from tests.limits import Timings
from tests.people import owner

pytestmark = pytest.mark.django_db


class Caller:
    def __init__(self, project: Project) -> None:
        self.token = credentials.mint(kind="api", project=project, user=owner(), scopes=["webhooks:write"])[1]

    def __call__(self, method: str, path: str, body: Any = None, **headers: str) -> Any:
        said = {"Authorization": f"Bearer {self.token}"} | {
            name.replace("_", "-"): text for name, text in headers.items()
        }
        text = "" if body is None else json.dumps(body)
        return Client(headers=said).generic(method, f"/api/v1/{path}", text, content_type="application/json")


@pytest.fixture
def call(project: Project) -> Caller:
    return Caller(project)


def test_a_webhook_from_its_first_day_to_its_last(call: Caller, project: Project, receiver: Receiver) -> None:
    made = call("POST", "webhooks", {"url": receiver.url, "types": ["approval_*"], "name": "CI"})
    assert (made.status_code, made.headers["Cache-Control"]) == (201, "no-store")
    secret, path = made.json()["secret"], f"webhooks/{made.json()['id']}"
    assert made.headers["Location"] == f"/api/v1/{path}"
    assert "secret" not in call("GET", path).json()
    assert [each["id"] for each in call("GET", "webhooks").json()["results"]] == [made.json()["id"]]
    assert call("POST", f"{path}/test", {}).status_code == 202
    happen(project, "approval_requested", "session_created")
    round.run()
    assert [each["type"] for each in receiver.verified(secret)] == ["webhook_test", "approval_requested"]
    sent = call("GET", f"{path}/deliveries?state=sent").json()["results"]
    assert [each["type"] for each in sent] == ["approval_requested", "webhook_test"]
    assert sent[0]["message_id"] == receiver.ids[1]
    again = call("POST", f"deliveries/{sent[0]['id']}/redrive", {})
    assert (again.status_code, again.json()["state"], again.json()["tries"]) == (200, "waiting", 0)
    new = call("POST", f"{path}/rotate", {}).json()
    assert new["secret"] != secret
    assert new["previous_secret_until"]
    off = call("PUT", path, {"url": receiver.url, "types": ["*"], "enabled": False}).json()
    assert (off["enabled"], off["disabled"], off["name"]) == (False, "by_hand", "")
    assert call("POST", f"{path}/test", {}).status_code == 409
    assert call("DELETE", path).status_code == 204
    assert call("GET", path).status_code == 404
    rows = AuditEntry.objects.filter(action__startswith="webhook.").values_list("action", flat=True)
    assert [each.partition(".")[2] for each in rows] == ["created", "secret_rotated", "changed", "removed"]
    assert not AuditEntry.objects.filter(detail__contains="/hook").exists()


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"url": "ftp://x/"}, "url"),
        ({"url": "https://user@hooks.example/"}, "url"),
        ({"url": "https://169.254.169.254/"}, "url"),
        ({"url": "https://hooks.example/", "types": []}, "types"),
        ({"url": "https://hooks.example/", "types": ["a b"]}, "types[0]"),
        ({"url": "https://hooks.example/", "after": 99}, "after"),
        ({"url": "https://hooks.example/", "secret": "mine"}, "secret"),
        ({}, "url"),
    ],
)
def test_a_wrong_field_is_named(call: Caller, body: dict[str, Any], field: str) -> None:
    answer = call("POST", "webhooks", body)
    assert (answer.status_code, [each["field"] for each in answer.json()["errors"]]) == (422, [field])


def test_http_and_private_addresses_need_the_setting(call: Caller, settings: Any) -> None:
    settings.WEBHOOKS_PRIVATE = False
    for url in ("http://hooks.example/", "https://10.0.0.1/", "https://hooks.example:9000/"):
        assert call("POST", "webhooks", {"url": url}).status_code == 422
    assert call("POST", "webhooks", {"url": "https://hooks.example/"}).status_code == 201


def test_the_secret_is_sealed_in_the_database_and_in_a_replay_it_is_gone(call: Caller) -> None:
    first = call("POST", "webhooks", {"url": "https://hooks.example/"}, Idempotency_Key="once")
    again = call("POST", "webhooks", {"url": "https://hooks.example/"}, Idempotency_Key="once")
    secret = first.json()["secret"]
    assert (again.json()["id"], again.json()["secret"]) == (first.json()["id"], None)
    assert secret.removeprefix("whsec_") not in Webhook.objects.get().secret
    assert secret not in json.dumps(IdempotencyKey.objects.get().answer)


def test_a_project_has_a_bounded_number_of_webhooks(call: Caller, timings: Timings) -> None:
    timings(webhooks_per_project=1)
    assert call("POST", "webhooks", {"url": "https://hooks.example/"}).status_code == 201
    refused = call("POST", "webhooks", {"url": "https://hooks.example/"})
    assert (refused.status_code, refused.json()["type"]) == (429, "too-many")


def test_a_webhook_of_another_project_is_not_found(project: Project, receiver: Receiver) -> None:
    webhook, _ = add(project, receiver.url)
    happen(project, "approval_requested")
    round.run()
    foreign = Caller(Project.objects.create(slug="other"))
    for method, path in [
        ("GET", f"webhooks/{webhook.pk}"),
        ("PUT", f"webhooks/{webhook.pk}"),
        ("DELETE", f"webhooks/{webhook.pk}"),
        ("POST", f"webhooks/{webhook.pk}/test"),
        ("POST", f"webhooks/{webhook.pk}/rotate"),
        ("GET", f"webhooks/{webhook.pk}/deliveries"),
        ("POST", f"deliveries/{Delivery.objects.get().pk}/redrive"),
    ]:
        body = (
            {"url": "https://hooks.example/", "types": ["*"]} if method == "PUT" else {} if method == "POST" else None
        )
        assert foreign(method, path, body).status_code == 404, path
    assert foreign("GET", "webhooks").json()["results"] == []
