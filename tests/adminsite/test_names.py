"""Rows store `user:7`. Staff read the current name of that person or key."""

from __future__ import annotations

import html
import re

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

from accounts import credentials, display_names, projects
from accounts.actors import Actor
from accounts.models import User
from ledger import unit_of_work
from ledger.models import AuditEntry
from tests.people import owner

pytestmark = pytest.mark.django_db
AUDIT = "/admin/ledger/auditentry/"


@pytest.fixture
def client() -> Client:
    client = Client()
    client.force_login(owner("root"))
    return client


def write(actor: object, subject: str = "thing:1") -> AuditEntry:
    with unit_of_work.transaction():
        unit_of_work.audit(projects.default().pk, actor, "test.done", subject)
    return AuditEntry.objects.latest("id")


def told(client: Client, path: str, **query: str) -> str:
    return re.sub(r"<[^>]+>", "", html.unescape(client.get(path, query).content.decode()))


def test_the_list_and_the_page_name_people_and_keys(client: Client) -> None:
    ann = User.objects.create_user("ann")
    key, _ = credentials.mint(kind="api", project=projects.default(), user=ann, name="robot")
    by_key = f"ann's key robot (key:{key.public_id})"
    entry = write(Actor.of_credential(key), f"user:{ann.pk}")
    for shown in (told(client, AUDIT), told(client, f"{AUDIT}{entry.pk}/change/")):
        assert by_key in shown and f"ann (user:{ann.pk})" in shown
    User.objects.filter(pk=ann.pk).update(username="ann\u202eeve")
    assert f"ann\\u{{202e}}eve (user:{ann.pk})" in told(client, AUDIT)
    entry.refresh_from_db()
    assert (entry.actor, entry.subject) == (f"key:{key.public_id}", f"user:{ann.pk}")


@pytest.mark.parametrize(
    "word", ["user:999", "user:x", f"user:{10**30}", "user:\u0663", "key:none", "system:beat", "x", ""]
)
def test_what_means_nobody_we_have_stands_as_it_is(client: Client, word: str) -> None:
    assert display_names.named(word) == word
    write(word or "system:x")
    assert client.get(AUDIT).status_code == 200


def test_a_key_without_a_name_is_told_by_its_word_alone() -> None:
    key, _ = credentials.mint(kind="api", project=projects.default())
    assert display_names.named(f"key:{key.public_id}") == f"key:{key.public_id}"


def test_a_long_list_costs_as_many_queries_as_a_short_one(client: Client) -> None:
    def write_for(name: str) -> None:
        user = User.objects.create_user(name)
        key, _ = credentials.mint(kind="api", project=projects.default(), user=user)
        write(Actor.of_user(user), f"key:{key.public_id}")

    write_for("first")
    told(client, AUDIT)  # The first page after a login writes the login's end.
    with CaptureQueriesContext(connection) as short:
        told(client, AUDIT)
    for number in range(20):
        write_for(f"person-{number}")
    with CaptureQueriesContext(connection) as long:
        shown = told(client, AUDIT)
    assert all(f"person-{number} (user:" in shown for number in range(20))
    assert len(long) == len(short)


def test_a_search_finds_what_is_shown(client: Client) -> None:
    ann = User.objects.create_user("ann")
    write(Actor.of_user(ann), "thing:hers")
    write(Actor.of_user(owner("root")), "thing:his")
    shown = told(client, AUDIT, q="Ann")
    assert "thing:hers" in shown and "thing:his" not in shown
    assert "thing:his" in told(client, AUDIT, q="his")


def test_a_search_by_a_person_finds_what_their_keys_did(client: Client) -> None:
    ann, bob = User.objects.create_user("ann"), User.objects.create_user("bob")
    key, _ = credentials.mint(kind="api", project=projects.default(), user=ann, name="robot")
    other, _ = credentials.mint(kind="api", project=projects.default(), user=bob, name="ann")
    write(Actor.of_credential(key), "thing:hers")
    write(Actor.of_user(owner("root")), f"key:{key.public_id}")
    write(Actor.of_credential(other), "thing:his")
    shown = told(client, AUDIT, q="Ann")
    assert "thing:hers" in shown and f"ann's key robot (key:{key.public_id})" in shown
    assert "thing:his" not in shown
