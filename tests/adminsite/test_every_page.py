"""Every address of the admin, found from the URLconf, for every kind of visitor."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator
from typing import Any

import pytest
from django.apps import apps
from django.contrib.sessions.models import Session as BrowserSession
from django.test import Client

from accounts.models import User
from tests.adminsite.crawling import Address, Page, addresses
from tests.adminsite.planting import ESCAPES, HIDDEN, Planted, plant, staff

pytestmark = pytest.mark.django_db

POLICY = {
    "default-src 'self'",
    "script-src 'self'",
    "style-src 'self'",
    "img-src 'self' data:",
    "connect-src 'self'",
    "object-src 'none'",
    "base-uri 'self'",
    "form-action 'self'",
    "frame-ancestors 'none'",
}
#: Open to anybody: they show nothing. Signing out and in are what they are for.
FOR_ANYBODY = {"login", "logout", "jsi18n"}
CHANGES_ON_GET = {"logout"}


@pytest.fixture
def mine() -> Planted:
    return plant("mine", "MINE")


@pytest.fixture
def theirs() -> Planted:
    return plant("theirs", "THEIRS")


@pytest.fixture
def superuser() -> User:
    return User.objects.create_superuser("super", password="super-password")


def visitor(user: User | None = None, **options: Any) -> Client:
    client = Client(**options)
    if user is not None:
        client.force_login(user)
    return client


def get(client: Client, address: Address) -> Any:
    answer = client.get(address.path)
    assert answer.status_code < 500, address
    return answer


def checksum() -> str:
    """Return a checksum of all rows except logins."""
    rows = hashlib.sha256()
    for model in sorted(apps.get_models(include_auto_created=True), key=lambda model: model._meta.label):
        if model is not BrowserSession:
            told = sorted(repr(row) for row in model._base_manager.values_list())
            rows.update(f"{model._meta.label} {told}".encode())
    return rows.hexdigest()


def crawl(client: Client, planted: Planted, person: User) -> Iterator[tuple[Address, Any]]:
    for address in addresses(planted, person):
        if address.name not in CHANGES_ON_GET:
            yield address, get(client, address)


def text_of(answer: Any) -> str:
    return b"".join(answer.streaming_content if answer.streaming else [answer.content]).decode(errors="replace")


def test_nobody_gets_further_than_the_door(mine: Planted, superuser: User) -> None:
    for address, answer in crawl(visitor(), mine, superuser):
        if address.name not in FOR_ANYBODY:
            assert answer.status_code == 302 and answer.url.startswith("/admin/login/"), address
        assert "MINE" not in text_of(answer)


def test_staff_without_permissions_see_no_row_of_anything(mine: Planted) -> None:
    member = staff("newcomer", mine.project, permissions=False)
    about_all = {"Sweep"}  # sweepers belong to no project, and say nothing of one
    for address, answer in crawl(visitor(member), mine, member):
        assert "MINE" not in text_of(answer), address
        if address.model is not None and address.model.__name__ not in about_all and "front" not in address.path:
            assert answer.status_code in (302, 403, 404, 405), address


@pytest.mark.surface
def test_no_page_shows_an_object_by_its_address_or_number(mine: Planted, superuser: User) -> None:
    for address, answer in crawl(visitor(superuser), mine, superuser):
        assert not re.search(r" object at 0x| object \(", text_of(answer)), address


def test_staff_of_another_project_cannot_name_read_or_find_what_is_foreign(mine: Planted, theirs: Planted) -> None:
    member = staff("neighbour", mine.project)
    client = visitor(member)
    for address, answer in crawl(client, theirs, member):
        told = text_of(answer)
        if address.model is None or address.model.__name__ != "Sweep":
            assert "THEIRS" not in told, address
            assert str(theirs.project.slug) not in told, address
    for row in theirs.rows.values():
        if row._meta.model_name != "sweep":
            page = f"/admin/{row._meta.app_label}/{row._meta.model_name}/{row.pk}/change/"
            assert client.get(page).status_code in (302, 403, 404), page


def test_a_foreign_row_and_one_that_never_was_are_answered_alike(mine: Planted, theirs: Planted) -> None:
    member = staff("neighbour", mine.project)
    client = visitor(member)
    for row in theirs.rows.values():
        if row._meta.model_name == "sweep":
            continue
        never = "00000000-0000-4000-8000-000000000000" if "-" in str(row.pk) else "987654"
        for pattern in ("{}/change/", "{}/history/", "{}/delete/"):
            pages = [
                f"/admin/{row._meta.app_label}/{row._meta.model_name}/{pattern.format(pk)}" for pk in (row.pk, never)
            ]
            assert len({client.get(page).status_code for page in pages}) == 1, pages


def test_searching_and_filtering_do_not_reach_over_the_wall(mine: Planted, theirs: Planted) -> None:
    client = visitor(staff("neighbour", mine.project))
    foreign = theirs.rows
    for row in foreign.values():
        if row._meta.model_name == "sweep":
            continue
        listed = f"/admin/{row._meta.app_label}/{row._meta.model_name}/"
        for query in ({"q": str(row.pk)}, {"q": "THEIRS"}, {"project": "theirs"}, {"project__slug__startswith": "the"}):
            answer = client.get(listed, query)
            shown = text_of(answer).replace("THEIRS", "", text_of(answer).count('value="THEIRS"'))
            assert "THEIRS-" not in shown, (listed, query)


def test_staff_of_the_project_and_superusers_see_its_pages(mine: Planted, superuser: User) -> None:
    for person in (staff("member", mine.project), superuser):
        client = visitor(person)
        for row in mine.rows.values():
            page = f"/admin/{row._meta.app_label}/{row._meta.model_name}/{row.pk}/change/"
            answer = client.get(page)
            assert answer.status_code == 200, page
            assert "MINE" in text_of(answer), page


@pytest.mark.surface
def test_every_page_keeps_the_policy_and_shows_planted_text_as_text(mine: Planted, superuser: User) -> None:
    pages = 0
    for address, answer in crawl(visitor(superuser), mine, superuser):
        if not answer.headers.get("Content-Type", "").startswith("text/html") or answer.status_code != 200:
            continue
        pages += 1
        told = text_of(answer)
        assert Page(told).faults() == [], address
        # A carriage return in a box to type in is a line break there; where text is shown, the next test looks for it.
        hidden = set(told) & (set(HIDDEN) - {"\r"})
        assert not hidden, (address, sorted(hidden))
        policy = answer.headers.get("Content-Security-Policy", "")
        assert {part.strip() for part in policy.split(";")} == POLICY, address
    assert pages > 40


@pytest.mark.parametrize(
    ("model", "fields"),
    [
        ("orchestration.Session", "title role assignment result error cancel tool by ended host stderr waits body "
         "payload type shell command"),
        ("approvals.Approval", "shell permission resource question name argument command asker"),
        ("approvals.Grant", "shell permission resource name argument granter"),
        ("ledger.Event", "type payload key"),
        ("ledger.AuditEntry", "actor subject payload"),
        ("ledger.OutboxEntry", "key payload trouble"),
        ("ledger.Sweep", "sweep"),
        ("mailbox.Message", "body correlation"),
        ("mailbox.Quarantined", "raw reason"),
    ],
)  # fmt: skip
def test_hidden_characters_of_every_field_are_visible_on_its_page(
    mine: Planted, superuser: User, model: str, fields: str
) -> None:
    row = mine.rows[apps.get_model(model)]
    told = text_of(visitor(superuser).get(f"/admin/{row._meta.app_label}/{row._meta.model_name}/{row.pk}/change/"))
    for name in fields.split():
        shown = told.partition(f"MINE-{name}")[2][:400]
        assert shown, f"{name} is not shown"
        assert all(escape in shown or json_form(escape) in shown for escape in ESCAPES), (name, shown[:200])


def json_form(escape: str) -> str:
    """Return a control character as JSON writes it."""
    code = int(escape[3:-1], 16)
    return {13: "\\r"}.get(code, f"\\u{code:04x}")


def test_looking_changes_nothing(mine: Planted, superuser: User) -> None:
    client = visitor(superuser)
    before = checksum()
    for address, _answer in crawl(client, mine, superuser):
        assert address.path
    assert checksum() == before


def test_a_post_without_the_token_of_its_page_changes_nothing(mine: Planted, superuser: User) -> None:
    client = visitor(superuser, enforce_csrf_checks=True)
    before = checksum()
    for address in addresses(mine, superuser):
        assert client.post(address.path).status_code in (302, 403, 404, 405), address
    assert checksum() == before


def test_rows_that_only_verbs_move_have_no_form_to_add_change_or_delete_them(mine: Planted, superuser: User) -> None:
    client = visitor(superuser)
    before = checksum()
    for model, row in mine.rows.items():
        if model.__name__ in ("Project",):
            continue
        base = f"/admin/{row._meta.app_label}/{row._meta.model_name}"
        for path in (f"{base}/add/", f"{base}/{row.pk}/change/", f"{base}/{row.pk}/delete/", f"{base}/"):
            data = {
                "post": "yes",
                "_save": "",
                "_saveasnew": "",
                "action": "delete_selected",
                "_selected_action": row.pk,
            }
            assert client.post(path, data).status_code < 500, path
    assert checksum() == before


@pytest.mark.django_db
def test_an_address_without_a_page_has_one_with_a_way_back(
    admin_client: Client, client: Client, django_user_model: Any
) -> None:
    answer = admin_client.get("/admin/nosuch/")
    assert answer.status_code == 404
    page = answer.content.decode()
    assert "There is nothing at this address." in page and 'href="/admin/"' in page
    clerk = django_user_model.objects.create_user("clerk", password="x", is_staff=True)
    client.force_login(clerk)
    answer = client.get("/admin/accounts/user/")
    assert answer.status_code == 403
    assert "You may not see or do this." in answer.content.decode()
