"""The permissions that the pages of people and groups offer."""

from __future__ import annotations

import pytest
from django.contrib.auth.models import Group, Permission
from django.test import Client

from accounts import scopes
from accounts.models import User

pytestmark = pytest.mark.django_db


def offered(page: Client, path: str) -> set[str]:
    queryset = page.get(path).context["adminform"].form.fields
    found = queryset.get("user_permissions") or queryset["permissions"]
    return {f"{each.content_type.app_label}.{each.codename}" for each in found.queryset}


def test_the_picker_offers_what_opens_something_and_keeps_what_is_held() -> None:
    page = Client()
    page.force_login(User.objects.create_superuser("boss", password="x"))
    group = Group.objects.create(name="team")
    path = f"/admin/auth/group/{group.pk}/change/"
    found = offered(page, path)
    assert found == offered(page, f"/admin/accounts/user/{User.objects.get().pk}/change/")
    assert not {"approvals.view_subject", "ledger.add_head", "accounts.view_idempotencykey"} & found
    behind = set(scopes.permissions())
    assert behind and behind <= found
    own = Permission.objects.exclude(codename__regex="^(add|change|delete|view)_").select_related("content_type")
    assert {f"{each.content_type.app_label}.{each.codename}" for each in own} <= found
    group.permissions.add(Permission.objects.get(codename="view_subject"))
    assert "approvals.view_subject" in offered(page, path)
