"""A key is worth at most the scopes that its owner could mint now, on every route, from the next call on."""

from __future__ import annotations

import pytest
from django.contrib.auth.models import Group, Permission
from django.core.management import CommandError, call_command
from django.test import Client
from pytest_django import DjangoAssertNumQueries

from accounts import bulk_authentication, credentials, projects, scopes
from accounts.models import Credential, Project, User
from tests.people import owner

pytestmark = pytest.mark.django_db
LIST = "/api/v1/approvals"


def allowed(holder: User | Group, *names: str) -> None:
    mine = holder.user_permissions if isinstance(holder, User) else holder.permissions
    mine.add(*Permission.objects.filter(codename__in=names))


def key_of(user: User | None, *wanted: str) -> str:
    return credentials.mint(kind="api", project=projects.default(), user=user, scopes=wanted or scopes.ALL)[1]


def worth(token: str) -> list[str]:
    found, in_a_crowd = credentials.check(token), bulk_authentication.check_all([token])[token]
    assert found is not None and in_a_crowd is not None
    assert in_a_crowd.scopes == found.scopes
    return found.scopes


def status(token: str, path: str = LIST) -> int:
    # Whoever asks for many tokens at once is told the same of this one.
    assert bulk_authentication.check_all([token])[token] == credentials.check(token)
    return Client(headers={"Authorization": f"Bearer {token}"}).get(path).status_code


def test_a_key_dies_when_its_owner_leaves_the_group_that_sees_the_project(ann: User, team: Group) -> None:
    allowed(ann, "view_approval")
    token = key_of(ann)
    assert status(token) == 200
    ann.groups.remove(team)
    assert status(token) == 401
    assert credentials.recognise(token).state == "ended"
    ann.groups.add(team)
    assert status(token) == 200


def test_a_key_dies_when_the_project_no_longer_names_the_group(ann: User, team: Group) -> None:
    allowed(ann, "view_approval")
    token = key_of(ann)
    projects.default().groups.remove(team)
    assert status(token) == 401


def test_seeing_another_project_is_not_seeing_this_one(ann: User, team: Group) -> None:
    token = key_of(ann)
    projects.default().groups.remove(team)
    Project.objects.create(slug="other").groups.add(team)
    User.objects.create_user("bob").groups.add(Group.objects.create(name="others"))
    projects.default().groups.add(Group.objects.get(name="others"))
    assert credentials.check(token) is bulk_authentication.check_all([token])[token] is None


def test_a_key_without_an_owner_opens_nothing() -> None:
    token = key_of(None)
    assert credentials.check(token) is bulk_authentication.check_all([token])[token] is None


def test_who_is_no_superuser_any_more_has_no_admin_keys(ann: User) -> None:
    User.objects.filter(pk=ann.pk).update(is_superuser=True)
    token = key_of(ann)
    assert worth(token) == sorted(scopes.ALL)
    User.objects.filter(pk=ann.pk).update(is_superuser=False)
    assert worth(token) == []
    assert status(token) == 403
    assert Credential.objects.get().scopes == sorted(scopes.ALL)


def test_a_superuser_who_leaves_the_staff_has_no_keys_any_more(ann: User) -> None:
    User.objects.filter(pk=ann.pk).update(is_superuser=True)
    token = key_of(ann)
    assert status(token) == 200
    User.objects.filter(pk=ann.pk).update(is_staff=False)
    assert status(token) == 401
    with pytest.raises(CommandError, match="not on the staff"):
        call_command("create_api_key", user="ann")
    User.objects.filter(pk=ann.pk).update(is_staff=True)
    assert status(token) == 200


def test_a_key_of_who_was_never_on_the_staff_is_worth_what_their_groups_may(ann: User, team: Group) -> None:
    allowed(team, "view_approval")
    User.objects.filter(pk=ann.pk).update(is_staff=False)
    assert worth(key_of(ann)) == ["approvals:read"]


@pytest.mark.parametrize("scope", sorted(scopes.NEEDS))
@pytest.mark.parametrize("through", ["person", "team"])
def test_a_scope_is_worth_what_the_permission_behind_it_is(ann: User, team: Group, scope: str, through: str) -> None:
    token = key_of(ann, scope)
    assert worth(token) == []
    holder = ann.user_permissions if through == "person" else team.permissions
    wanted = [name.partition(".") for name in scopes.NEEDS[scope]]
    behind = [Permission.objects.get(content_type__app_label=app, codename=name) for app, _, name in wanted]
    for permission in behind:
        assert worth(token) == []
        holder.add(permission)
    assert worth(token) == [scope]
    holder.remove(behind[0])
    assert worth(token) == []


def test_a_key_is_worth_exactly_what_its_owner_could_mint(ann: User, team: Group) -> None:
    token = key_of(ann)
    for name in ("view_approval", "decide", "change_session", "requeue"):
        allowed(team if name == "decide" else ann, name)
        assert worth(token) == scopes.grantable(User.objects.get(pk=ann.pk))


def test_a_childs_token_has_no_owner_and_keeps_its_scopes() -> None:
    wanted = ["sessions:command"]
    _, token = credentials.mint(kind="child", project=projects.default(), subject="x", attempt=1, scopes=wanted)
    assert worth(token) == wanted


def test_all_of_it_is_checked_in_one_query(ann: User, django_assert_num_queries: DjangoAssertNumQueries) -> None:
    token = key_of(ann)
    with django_assert_num_queries(1):
        assert credentials.check(token)


def test_staff_see_why_a_key_does_not_work(ann: User, team: Group) -> None:
    client = Client()
    client.force_login(owner())
    allowed(ann, "ask")
    key = credentials.check(key_of(ann, "admin", "approvals:ask"))
    assert key is not None
    page = f"/admin/accounts/credential/{key.pk}/change/"
    assert "without effect, because the owner lacks the right: admin)" in client.get(page).content.decode()
    ann.groups.remove(team)
    assert "owner does not see the project" in client.get(page).content.decode()
    User.objects.filter(pk=ann.pk).update(is_active=False)
    assert "owner inactive" in client.get("/admin/accounts/credential/").content.decode()


def test_the_command_mints_nothing_that_would_be_worth_nothing(ann: User, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(CommandError, match="no permission behind a scope"):
        call_command("create_api_key", user="ann")
    allowed(ann, "ask")
    with pytest.raises(CommandError, match=r"admin \(to be a superuser\)"):
        call_command("create_api_key", user="ann", scope=["admin", "approvals:ask"])
    with pytest.raises(CommandError, match=r"mailboxes:write \(mailbox.deliver_message\)"):
        call_command("create_api_key", user="ann", scope=["mailboxes:write"])
    call_command("create_api_key", user="ann")
    assert worth(capsys.readouterr().out.split()[-1]) == ["approvals:ask"]
    Project.objects.create(slug="other")
    with pytest.raises(CommandError, match="does not see"):
        call_command("create_api_key", user="ann", project="other")
    assert Credential.objects.count() == 1
