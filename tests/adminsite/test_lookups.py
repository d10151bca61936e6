"""No list of the admin filters by a hidden field: a reader could guess a hash or a secret step by step."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from django.contrib import admin
from django.db.models import Model
from django.test import Client, RequestFactory

from accounts.models import User
from tests.adminsite.planting import plant

pytestmark = pytest.mark.django_db
ASKS = ("__startswith", "__gt", "__regex", "__isnull", "__in", "__contains")


def fields(model: type[Model], depth: int = 2) -> Iterator[str]:
    """Return every field of a model and of its related models, in both directions."""
    for field in model._meta.get_fields():
        yield field.name
        if depth and field.is_relation and field.related_model and field.related_model != "self":
            yield from (f"{field.name}__{further}" for further in fields(field.related_model, depth - 1))


def named(each: Any) -> str:
    """The field or the parameter that a filter of a list asks."""
    return str(each[0] if isinstance(each, tuple) else getattr(each, "parameter_name", each))


@pytest.fixture
def reader() -> User:
    return User.objects.create_superuser("super", password="super-password")


@pytest.mark.parametrize("model", list(admin.site._registry), ids=lambda model: model._meta.label)
def test_only_what_a_lists_own_filters_ask_is_asked(model: type[Model], reader: User) -> None:
    page = admin.site._registry[model]
    request = RequestFactory().get("/")
    request.user = reader
    asked = {lookup + ask for lookup in fields(model) for ask in (*ASKS, "")}
    allowed = {lookup for lookup in asked if page.lookup_allowed(lookup, "x", request)}
    own = {named(each).partition("__")[0] for each in page.list_filter}
    assert {lookup.partition("__")[0] for lookup in allowed} <= own
    assert not {lookup for lookup in allowed if lookup.endswith(("__startswith", "__regex", "__contains", "__gt"))}


@pytest.mark.parametrize(
    "query", ["secret_hash__startswith=a", "user__password__startswith=p", "project__credentials__secret_hash__gt=0"]
)
def test_a_list_of_keys_tells_nothing_of_their_secrets(query: str, reader: User) -> None:
    planted = plant("mine", "MINE")
    client = Client()
    client.force_login(reader)
    answer: Any = client.get(f"/admin/accounts/credential/?{query}", follow=True)
    assert answer.status_code in (200, 400)
    if answer.status_code == 200:
        assert planted.text("key")[:8] in answer.content.decode(), "the list is whole, as without the question"
