"""Webhooks in the admin: added, tried, changed and removed by those who may, and secrets shown once."""

from __future__ import annotations

import re
from typing import Any

import pytest
from django.contrib.auth.models import Permission
from django.test import Client

from accounts.models import Project, User
from ledger.deliveries import round
from ledger.models import AuditEntry, Delivery, Webhook
from tests.adminsite.planting import staff
from tests.ledger.webhooks.conftest import add, happen
from tests.ledger.webhooks.receiver import Receiver

pytestmark = pytest.mark.django_db
LIST = "/admin/ledger/webhook/"


def signed_in(user: User, *permissions: str) -> Client:
    user.user_permissions.set(Permission.objects.filter(codename__in=permissions))
    client = Client()
    client.force_login(user)
    return client


@pytest.fixture
def page(project: Project) -> Client:
    return signed_in(staff("editor", project, permissions=False), "change_webhook", "view_delivery", "change_delivery")


def secret_in(answer: Any) -> str:
    assert "no-store" in answer.headers["Cache-Control"]
    return re.findall(r"whsec_[\w+/=]+", answer.content.decode())[0]


def text(answer: Any) -> str:
    return str(answer.content.decode())


def test_a_webhook_is_added_tried_changed_and_removed(page: Client, project: Project, receiver: Receiver) -> None:
    assert "There is none yet" in text(page.get(LIST)) and "/admin/ledger/webhook/add/" in text(page.get(LIST))
    form = {"project": project.pk, "name": "CI", "url": receiver.url, "types": "approval_*\r\nwebhook_test\r\n"}
    secret = secret_in(page.post(f"{LIST}add/", form))
    webhook = Webhook.objects.get()
    path = f"{LIST}{webhook.pk}/"
    assert (webhook.types, webhook.name) == (["approval_*", "webhook_test"], "CI")
    assert "whsec_" not in text(page.get(f"{path}change/")) and "There is none yet" not in text(page.get(LIST))
    page.post(f"{path}test/")
    happen(project, "approval_requested", "session_created")
    round.run()
    assert [each["type"] for each in receiver.verified(secret)] == ["webhook_test", "approval_requested"]
    for row in Delivery.objects.all():
        assert f"/admin/ledger/delivery/{row.pk}/change/" in text(page.get(f"{path}change/"))
    new = secret_in(page.post(f"{path}rotate/"))
    assert new != secret
    assert receiver.url in text(page.get(f"{path}edit/"))
    assert page.post(f"{path}edit/", {"url": receiver.url, "types": ""}).status_code == 302
    webhook.refresh_from_db()
    assert (webhook.types, webhook.name, webhook.disabled) == (["*"], "", "by_hand")
    assert "Enable it first" in text(page.post(f"{path}test/", follow=True))
    page.post(f"{path}remove/")
    assert not Webhook.objects.exists() and not Delivery.objects.exists()
    rows = AuditEntry.objects.filter(action__startswith="webhook.").values_list("action", "actor")
    assert [action.partition(".")[2] for action, _ in rows] == ["created", "secret_rotated", "changed", "removed"]
    assert {actor.partition(":")[0] for _, actor in rows} == {"user"}


def test_the_stock_page_saves_no_webhook_as_a_new_one(page: Client, project: Project) -> None:
    webhook, _ = add(project, "https://hooks.example/")
    for data in ({"_saveasnew": "1", "project": project.pk}, {"_save": "1"}):
        assert page.post(f"{LIST}{webhook.pk}/change/", data).status_code == 403
    assert Webhook.objects.count() == 1


def test_the_form_says_which_addresses_this_server_takes(page: Client, settings: Any) -> None:
    settings.WEBHOOKS_PRIVATE = False
    assert "https, a public host, port 443 or 8443." in text(page.get(f"{LIST}add/"))
    settings.WEBHOOKS_PRIVATE = True
    assert "https or http, any host" in text(page.get(f"{LIST}add/"))


@pytest.mark.parametrize(
    ("said", "field", "why"),
    [
        ({"url": "http://hooks.example/"}, "url", "WEBHOOKS_PRIVATE=1"),
        ({"url": "https://10.0.0.1/"}, "url", "WEBHOOKS_PRIVATE=1"),
        ({"url": "https://hooks.example:9000/"}, "url", "WEBHOOKS_PRIVATE=1"),
        ({"url": "https://169.254.169.254/"}, "url", "not public"),
        ({"types": "approval_*\na b"}, "types", "must be letters"),
        ({"url": ""}, "url", "required"),
        ({"project": ""}, "project", "required"),
    ],
)
def test_a_refusal_stands_at_its_field(
    page: Client, project: Project, settings: Any, said: dict[str, str], field: str, why: str
) -> None:
    settings.WEBHOOKS_PRIVATE = False
    answer = page.post(f"{LIST}add/", {"project": project.pk, "url": "https://hooks.example/", **said})
    assert answer.status_code == 422 and list(answer.context["form"].errors) == [field]
    assert why in str(answer.context["form"].errors[field])
    assert ("WEBHOOKS_PRIVATE" in text(answer)) == (why == "WEBHOOKS_PRIVATE=1")


def test_a_reader_sees_the_host_and_changes_nothing(project: Project, receiver: Receiver) -> None:
    webhook, _ = add(project, f"{receiver.url}?token=of-ours")
    happen(project, "approval_requested")
    round.run()
    reader = signed_in(staff("reader", project, permissions=False), "view_webhook", "view_delivery")
    path, delivery = f"{LIST}{webhook.pk}/", Delivery.objects.get()
    for address in (LIST, f"{path}change/", "/admin/ledger/delivery/", f"/admin/ledger/delivery/{delivery.pk}/change/"):
        shown = reader.get(address)
        assert shown.status_code == 200 and "127.0.0.1" in text(shown)
        assert "of-ours" not in text(shown) and "New webhook" not in text(shown)
    for name in ("edit", "rotate", "test", "remove"):
        assert reader.post(f"{path}{name}/").status_code == 403, name
    assert reader.get(f"{path}edit/").status_code == reader.get(f"{LIST}add/").status_code == 403


@pytest.mark.parametrize(("permission", "found"), [("view_webhook", 0), ("change_webhook", 1)])
def test_the_search_finds_no_part_of_a_url_for_those_who_may_not_see_it(
    project: Project, permission: str, found: int
) -> None:
    webhook, _ = add(project, "https://hooks.example/services/of-ours")
    Webhook.objects.filter(pk=webhook.pk).update(name="CI")
    reader = signed_in(staff("reader", project, permissions=False), permission)
    assert reader.get(f"{LIST}?q=services/of").context["cl"].result_count == found
    assert reader.get(f"{LIST}?q=CI").context["cl"].result_count == 1


def test_a_webhook_of_another_project_is_not_there(page: Client, receiver: Receiver) -> None:
    other = Project.objects.create(slug="other")
    webhook, _ = add(other, receiver.url)
    for name in ("edit", "rotate", "test", "remove"):
        assert page.post(f"{LIST}{webhook.pk}/{name}/").status_code == 404, name
    answer = page.post(f"{LIST}add/", {"project": other.pk, "url": receiver.url})
    assert list(answer.context["form"].errors) == ["project"]
    log = text(page.get("/admin/ledger/delivery/"))
    assert str(webhook.pk) not in log and "127.0.0.1" not in log


def test_nothing_happens_by_get(page: Client, project: Project, receiver: Receiver) -> None:
    webhook, _ = add(project, receiver.url)
    for name in ("rotate", "test", "remove"):
        assert page.get(f"{LIST}{webhook.pk}/{name}/").status_code == 302, name
    after = Webhook.objects.get()
    assert (after.secret, Delivery.objects.count()) == (webhook.secret, 0)


def test_the_log_is_filtered_by_webhook(page: Client, project: Project, receiver: Receiver) -> None:
    first, _ = add(project, receiver.url, "approval_*")
    second, _ = add(project, receiver.url, "session_*")
    happen(project, "approval_requested", "session_created")
    round.run()
    for webhook, type in ((first, "approval_requested"), (second, "session_created")):
        rows = page.get(f"/admin/ledger/delivery/?webhook={webhook.pk}").context["cl"].result_list
        assert [row.type for row in rows] == [type]
    assert page.get("/admin/ledger/delivery/?webhook=odd").context["cl"].result_count == 0
