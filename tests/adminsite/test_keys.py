"""API keys and projects in the admin: the right to mint, secrets shown once, and the walls between projects."""

from __future__ import annotations

import re
from typing import Any

import pytest
from django.contrib.auth.models import Permission
from django.test import Client

from accounts import credentials, scopes
from accounts.models import Credential, Project, User
from tests.adminsite.planting import staff
from tests.people import owner

pytestmark = pytest.mark.django_db
MINT = "/admin/accounts/credential/mint/"


@pytest.fixture
def project() -> Project:
    return Project.objects.create(slug="mine")


@pytest.fixture
def other() -> Project:
    return Project.objects.create(slug="theirs")


def signed_in(user: User) -> Client:
    client = Client()
    client.force_login(user)
    return client


def allowed(user: User, *names: str) -> User:
    user.user_permissions.set(Permission.objects.filter(codename__in=names))
    return user


def mint(client: Client, project: Project, *scopes: str, **more: Any) -> Any:
    return client.post(MINT, {"name": "robot", "project": str(project.pk), "scopes": scopes, **more})


def token_in(answer: Any) -> str | None:
    found = re.search(r"wr_key_[\w-]+", answer.content.decode())
    return found[0] if found else None


def test_a_key_is_shown_in_the_answer_to_the_post_and_nowhere_after(project: Project) -> None:
    mine = ("add_credential", "view_credential", "view_event", "view_approval")
    client = signed_in(allowed(staff("minter", project, permissions=False), *mine))
    assert token_in(client.get(MINT)) is None
    answer = mint(client, project, "feed:read", "approvals:read")
    assert "no-store" in answer.headers["Cache-Control"]
    token = token_in(answer)
    assert token
    key = credentials.check(token)
    assert key is not None
    assert (key.project, key.user, key.scopes) == (project, answer.wsgi_request.user, ["approvals:read", "feed:read"])
    secret = token.split("_", 3)[3]
    assert all(secret not in str(value) for value in Credential.objects.values_list().get(pk=key.pk))
    for page in (f"{key.pk}/change/", f"{key.pk}/history/", ""):
        assert token not in client.get(f"/admin/accounts/credential/{page}").content.decode()


def test_nobody_grants_what_they_could_not_do_themselves(project: Project) -> None:
    member = allowed(staff("minter", project, permissions=False), "add_credential")
    client = signed_in(member)
    for scope in scopes.ALL:
        assert token_in(mint(client, project, scope)) is None
        assert f'value="{scope}"' not in client.get(MINT).content.decode()
    assert not Credential.objects.exists()
    allowed(member, "add_credential", "decide")
    assert token_in(mint(client, project, "approvals:decide"))
    allowed(member, "add_credential", "change_session", "inspect_quarantine", "requeue")
    assert token_in(mint(client, project, "sessions:write", "quarantine:write"))
    superuser = User.objects.create_superuser("super")
    assert token_in(mint(signed_in(superuser), project, "admin", "sessions:command"))


def test_nobody_mints_for_a_project_that_they_do_not_see(project: Project, other: Project) -> None:
    client = signed_in(allowed(staff("minter", project, permissions=False), "add_credential"))
    assert "theirs" not in client.get(MINT).content.decode()
    assert token_in(mint(client, other, "feed:read")) is None
    assert not Credential.objects.exists()


def test_a_key_needs_a_name_a_scope_and_a_future(project: Project) -> None:
    client = signed_in(User.objects.create_superuser("super"))
    assert token_in(mint(client, project)) is None
    assert token_in(mint(client, project, "feed:read", name="")) is None
    past = {"expires_at_0": "2001-01-01", "expires_at_1": "00:00:00"}
    assert token_in(mint(client, project, "feed:read", **past)) is None
    assert not Credential.objects.exists()


def test_minting_and_ending_have_their_own_permissions(project: Project) -> None:
    member = allowed(staff("looker", project, permissions=False), "view_credential")
    client = signed_in(member)
    assert client.get(MINT).status_code == 403
    assert mint(client, project, "feed:read").status_code == 403
    key, token = credentials.mint(kind="api", user=owner(), project=project, scopes=["feed:read"])
    end = f"/admin/accounts/credential/{key.pk}/end/"
    assert client.post(end).status_code == 403
    assert credentials.check(token)
    allowed(member, "view_credential", "change_credential")
    assert client.get(end).status_code == 302
    assert credentials.check(token)
    assert client.post(end).status_code == 302
    assert credentials.check(token) is None


def test_a_foreign_key_cannot_be_ended_and_a_childs_token_has_no_page(project: Project, other: Project) -> None:
    client = signed_in(staff("member", project))
    foreign, token = credentials.mint(kind="api", user=owner(), project=other)
    child, _ = credentials.mint(kind="child", project=project, subject="x", attempt=1)
    for key in (foreign, child):
        assert client.post(f"/admin/accounts/credential/{key.pk}/end/").status_code == 404
    assert credentials.check(token)


def test_walls_are_moved_by_superusers_alone(project: Project, other: Project) -> None:
    member = staff("member", project)
    client = signed_in(member)
    page = f"/admin/accounts/project/{project.pk}/change/"
    client.post(page, {"name": "New name", "groups": [], "slug": "new"})
    project.refresh_from_db()
    assert (project.name, project.slug, project.groups.count()) == ("New name", "mine", 1)
    assert client.post(f"/admin/accounts/project/{other.pk}/change/", {"name": "x"}).status_code == 302
    other.refresh_from_db()
    assert other.name == ""


@pytest.mark.parametrize("page", ["accounts/user/", "accounts/user/add/", "auth/group/", "auth/group/add/"])
def test_people_and_groups_are_for_superusers_whatever_permissions_others_hold(project: Project, page: str) -> None:
    assert signed_in(staff("member", project)).get(f"/admin/{page}").status_code == 403
    assert signed_in(User.objects.create_superuser("super")).get(f"/admin/{page}").status_code == 200
