"""The matrix of the admin: each address of the URLconf by each role, for reading and for changing."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from uuid import uuid4

import pytest
from django.contrib.auth.models import Group, Permission
from django.contrib.sessions.models import Session as BrowserSession
from django.db import connection, transaction
from django.test import Client
from django.urls import path

from accounts.models import Project, User
from approvals.models import Approval
from mailbox.models import Quarantined
from tests.access.admin_table import ACTIONS, OPEN, PAGES, PERSON, PLANNED, SUPERUSER, UNKNOWN, Needs, Page, table
from tests.access.stages import planned, unknown
from tests.adminsite.crawling import Address, addresses
from tests.adminsite.planting import Planted, plant
from tests.adminsite.test_every_page import checksum

pytestmark = [pytest.mark.django_db, pytest.mark.surface]
TABLE = table()
LOGIN = "/admin/login/"
#: Pages that readers may see: a form that they may not send shows the page again, and changes nothing.
SHOWN_AGAIN = {"approvals_approval_answers", "approvals_rule_change", "mailbox_quarantined_changelist"}


@dataclasses.dataclass(eq=False)
class Stage:
    """A project with one of everything, its people by their permissions, and the addresses about it."""

    planted: Planted
    rows: dict[Any, Any]

    @functools.cached_property
    def everything(self) -> frozenset[str]:
        known = Permission.objects.values_list("content_type__app_label", "codename")
        return frozenset(f"{app}.{codename}" for app, codename in known)

    def addresses(self) -> Iterator[tuple[str, Page, Address]]:
        """Yield every address with its row of the table, filled in with the row that it is about."""
        rows = {"": self.planted}
        for name in (UNKNOWN, PLANNED):
            rows[name] = dataclasses.replace(self.planted, rows={**self.planted.rows, Approval: self.rows[name]})
        named = {name: addresses(planted, self.rows[PERSON]) for name, planted in rows.items()}
        for at, address in enumerate(named[""]):
            key = address.name or address.route
            if address.name not in OPEN:
                page = TABLE[key]
                yield key, page, named[page.row][at]

    @functools.cache  # noqa: B019 - it lives as long as its test
    def client(self, permissions: frozenset[str], *, superuser: bool = False, project: str = "mine") -> Client:
        """Return a browser of a person with exactly these permissions."""
        person = User.objects.create_user(f"person {uuid4()}", is_staff=True, is_superuser=superuser)
        group = Group.objects.get_or_create(name=f"see {project}")[0]
        Project.objects.get_or_create(slug=project)[0].groups.add(group)
        person.groups.add(group)
        known = {
            f"{each.content_type.app_label}.{each.codename}": each
            for each in Permission.objects.select_related("content_type")
        }
        person.user_permissions.set([known[name] for name in permissions])
        return signed_in(person)

    def without(self, need: str) -> Client:
        """Return a browser of a person with every permission but this one. Nobody here is a superuser."""
        return self.client(self.everything - set(need.split("|")))

    def enough(self, needs: Needs) -> Client:
        """Return a browser of a person with these permissions and no others."""
        if "superuser" in needs:
            return self.client(frozenset(), superuser=True)
        return self.client(frozenset(need.split("|")[0] for need in needs))

    @functools.cached_property
    def viewer(self) -> Client:
        return self.client(frozenset(name for name in self.everything if ".view_" in name and "secrets" not in name))


def signed_in(person: User) -> Client:
    client = Client(raise_request_exception=True)
    client.force_login(person)
    return client


@pytest.fixture
def stage() -> Stage:
    planted = plant("mine", "MINE")
    person = User.objects.create_user("somebody", is_staff=True)
    person.groups.add(Group.objects.create(name="somebodies"))
    session = planted.rows[Approval].session
    rows: dict[Any, Any] = {
        **planted.rows,
        PERSON: person,
        "group": person.groups.first(),
        "quarantined": planted.rows[Quarantined],
        UNKNOWN: unknown(planted.project, session),
        PLANNED: planned(planted.project, session),
    }
    return Stage(planted, rows)


@contextmanager
def rows_written() -> Iterator[list[str]]:
    """Collect the statements that change a row of anything but a login."""
    found: list[str] = []

    def watch(execute: Any, sql: str, params: Any, many: bool, context: Any) -> Any:
        done = execute(sql, params, many, context)
        is_write = sql.startswith(("INSERT", "UPDATE", "DELETE")) and BrowserSession._meta.db_table not in sql
        # An INSERT that returns something has no count yet.
        if is_write and (sql.startswith("INSERT") or context["cursor"].rowcount > 0):
            found.append(sql)
        return done

    with connection.execute_wrapper(watch):
        yield found


def is_refused(answer: Any) -> bool:
    """Return True for a 403, and for the way of a visitor to the page to sign in."""
    return answer.status_code == 403 or (answer.status_code == 302 and answer["Location"].startswith(LOGIN))


def posts(stage: Stage) -> Iterator[tuple[str, Page, str, dict[str, Any]]]:
    """Yield each form that changes something: its row, its path, and its values."""
    for key, page, address in stage.addresses():
        if page.form is not None:
            yield key, page, address.path, page.form(stage.rows)


def unlisted(found: set[str]) -> set[str]:
    return found - set(TABLE) - OPEN


def keys(planted: Planted, person: User) -> set[str]:
    return {address.name or address.route for address in addresses(planted, person)}


def test_the_table_has_every_page_of_the_urlconf_and_no_other(stage: Stage) -> None:
    found = keys(stage.planted, stage.rows[PERSON])
    assert unlisted(found) == set()
    assert set(TABLE) - found == set()


def test_a_page_that_nobody_listed_is_found(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    from config import urls

    monkeypatch.setattr(urls, "urlpatterns", [path("admin/planted/", lambda request: None, name="planted")])
    monkeypatch.setattr(
        "tests.adminsite.crawling.get_resolver", lambda: type("R", (), {"url_patterns": urls.urlpatterns})
    )
    assert unlisted(keys(stage.planted, stage.rows[PERSON])) == {"planted"}


def test_each_page_opens_for_its_readers_and_for_nobody_else(stage: Stage) -> None:
    wrong = []
    for key, page, address in stage.addresses():
        if page.get is None:
            if not is_refused(stage.client(stage.everything, superuser=True).get(address.path)):
                wrong.append(f"{key} opens, and is for nobody")
            continue
        for need in page.get:
            if not is_refused(stage.without(need).get(address.path)):
                wrong.append(f"{key} opens without {need}")
        if key.endswith("_history") or (key not in PAGES and key.endswith("_change")):
            continue  # stock pages with the right of their list
        answer = stage.enough(page.get).get(address.path)
        if is_refused(answer) or answer.status_code >= 500:
            wrong.append(f"{key} is closed to its readers: {answer.status_code}")
    assert not wrong, "\n".join(wrong)


def test_a_form_changes_something_for_those_who_may_and_for_nobody_else(stage: Stage) -> None:
    wrong = []
    tries = [(stage.without(need), need, *rest) for rest in posts(stage) for need in rest[1].post or ()]
    before = checksum()
    for client, need, key, _, address, values in tries:
        answer = client.post(address, values)
        if not is_refused(answer) and key not in SHOWN_AGAIN:
            wrong.append(f"{key} takes a form without {need}: {answer.status_code}")
    assert not wrong, "\n".join(wrong)
    assert checksum() == before
    for key, page, address, values in posts(stage):
        assert page.post is not None, key
        client = stage.enough((*page.post, *(page.get or ()), *page.beside))
        login = client.cookies["sessionid"].value
        with transaction.atomic():
            with rows_written() as written:
                answer = client.post(address, values)
            if answer.status_code >= 400 or not written:
                wrong.append(f"{key} does nothing for those who may: {answer.status_code}")
            transaction.set_rollback(True)
        client.cookies["sessionid"] = login
    assert not wrong, "\n".join(wrong)


@pytest.mark.parametrize("role", ["visitor", "inactive", "not on the staff", "newcomer", "viewer", "neighbour"])
def test_a_role_that_may_change_nothing_changes_nothing(stage: Stage, role: str) -> None:
    client = browser(stage, role)
    before, refused = checksum(), 0
    for key, page, address, values in posts(stage):
        if role == "viewer" and page.post == page.get:
            continue  # its own wishes about mails
        if role == "neighbour" and not is_about_a_row(address):
            continue  # a new rule, project or key of its own project
        answer = client.post(address, values)
        assert answer.status_code in (302, 403, 404) or key in SHOWN_AGAIN, (key, answer.status_code)
        refused += 1
    assert refused > 10
    assert checksum() == before


def is_about_a_row(address: str) -> bool:
    return address.count("/") > 5 or "answers" in address


def browser(stage: Stage, role: str) -> Client:
    if role == "visitor":
        return Client()
    if role in ("newcomer", "viewer", "neighbour"):
        return {
            "newcomer": lambda: stage.client(frozenset()),
            "viewer": lambda: stage.viewer,
            "neighbour": lambda: stage.client(stage.everything, project="theirs"),
        }[role]()
    person = User.objects.create_superuser(role, password="x")
    client = signed_in(person)
    User.objects.filter(pk=person.pk).update(**{"is_active" if role == "inactive" else "is_staff": False})
    return client


@pytest.mark.parametrize("role", ["inactive", "not on the staff"])
def test_a_login_that_lost_its_right_opens_nothing(stage: Stage, role: str) -> None:
    client = browser(stage, role)
    for key, _, address in stage.addresses():
        assert is_refused(client.get(address.path)), key


def test_a_method_that_no_page_knows_changes_nothing(stage: Stage) -> None:
    client, before = stage.client(stage.everything, superuser=True), checksum()
    for key, page, address in stage.addresses():
        if page.form is not None and page.post != SUPERUSER and key not in ACTIONS:
            for method in ("PUT", "DELETE"):
                assert client.generic(method, address.path).status_code < 500, (key, method)
    assert checksum() == before
