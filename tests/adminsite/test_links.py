"""A page links to nothing that its reader may not open, whatever small set of permissions they have."""

from __future__ import annotations

import re
from html import unescape
from typing import Any

import pytest
from django.contrib.auth.models import Permission
from django.test import Client

from accounts import display_names
from accounts.models import User
from tests.adminsite.planting import Planted, plant, staff

pytestmark = pytest.mark.django_db

LINK = re.compile(r'<a\b[^>]*\bhref="(/admin/[^"#]*)"')
#: They do what they say, which is no looking.
NOT_FOLLOWED = ("/admin/logout/", "/admin/jsi18n/")
SETS = (
    (),
    ("approvals.decide",),
    ("approvals.view_approval",),
    ("orchestration.view_session",),
    ("orchestration.view_session", "approvals.view_approval"),
    ("mailbox.view_message",),
    ("mailbox.view_quarantined",),
    ("ledger.view_event", "ledger.view_auditentry"),
    ("accounts.view_credential",),
    ("accounts.add_credential",),
)


@pytest.fixture
def mine() -> Planted:
    return plant("mine", "MINE")


def reader(planted: Planted, permissions: tuple[str, ...]) -> Client:
    person = staff("reader", planted.project, permissions=False)
    for permission in permissions:
        app, codename = permission.split(".")
        person.user_permissions.add(Permission.objects.get(content_type__app_label=app, codename=codename))
    client = Client()
    client.force_login(person)
    return client


def links(answer: Any) -> set[str]:
    found = {unescape(link).partition("?")[0] for link in LINK.findall(answer.content.decode())}
    return {link for link in found if not link.startswith(NOT_FOLLOWED)}


@pytest.mark.parametrize("permissions", SETS, ids=lambda held: "+".join(held) or "none")
def test_every_link_opens(mine: Planted, permissions: tuple[str, ...]) -> None:
    client = reader(mine, permissions)
    seen, waiting = set[str](), {"/admin/"}
    refused = []
    while waiting and len(seen) < 200:
        path = waiting.pop()
        seen.add(path)
        answer = client.get(path)
        if answer.status_code not in (200, 302):
            refused.append((path, answer.status_code))
        waiting |= links(answer) - seen
    assert refused == []
    assert "/admin/password_change/" in seen


def test_the_name_of_somebody_deleted_stays_with_what_they_did() -> None:
    gone = User.objects.create_user("gone-person")
    word = f"user:{gone.pk}"
    assert display_names.named(word) == f"gone-person ({word})"
    gone.delete()
    assert display_names.named(word) == f"gone-person, deleted ({word})"
    assert display_names.words("gone-person") == [word]


def test_a_form_of_an_older_login_is_refused_with_a_way_back(mine: Planted) -> None:
    client = Client(enforce_csrf_checks=True)
    client.force_login(User.objects.create_superuser("super"))
    page = "http://testserver/admin/approvals/approval/"
    answer = client.post(page, {"csrfmiddlewaretoken": "x" * 64}, headers={"Referer": page})
    assert answer.status_code == 403
    text = answer.content.decode()
    assert "Nothing was done" in text
    assert f'href="{page}"' in text
    elsewhere = client.post(page, {}, headers={"Referer": "https://evil.example/x"}).content.decode()
    assert "evil.example" not in elsewhere
    assert 'href="/admin/"' in elsewhere


def test_a_page_that_updates_itself_gets_the_token_of_its_login() -> None:
    client = Client()
    assert "X-CSRFToken" not in client.get("/admin/login/", headers={"X-Requested-With": "live"}).headers
    client.force_login(User.objects.create_superuser("super"))
    assert "X-CSRFToken" not in client.get("/admin/").headers
    token = client.get("/admin/", headers={"X-Requested-With": "live"}).headers["X-CSRFToken"]
    strict = Client(enforce_csrf_checks=True)
    strict.cookies = client.cookies
    made = strict.post("/admin/accounts/project/add/", {"slug": "made", "name": "", "csrfmiddlewaretoken": token})
    assert made.status_code == 302
