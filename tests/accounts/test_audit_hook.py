"""Each change of keys or rights writes a row into the audit chain, in the same transaction."""

from __future__ import annotations

import json
from typing import Any

import pytest
from django.contrib.auth.models import Group, Permission
from django.core.management import CommandError, call_command
from django.db import connection
from django.db.models import ProtectedError
from django.test import Client

from accounts import audit_hook, credentials, projects
from accounts.models import Credential, Project, User
from ledger.models import AuditEntry
from server import first_start
from tests.people import owner

pytestmark = pytest.mark.django_db
PEOPLE, TEAMS, PROJECTS = "/admin/accounts/user", "/admin/auth/group", "/admin/accounts/project"


@pytest.fixture
def client() -> Client:
    client = Client()
    client.force_login(owner("root"))
    return client


@pytest.fixture(autouse=True)
def holds(db: None) -> Any:
    """After every test the chain holds, as the command says."""
    yield
    call_command("verify_audit")


def rows(action: str) -> list[tuple[str, str, str, Any]]:
    found = AuditEntry.objects.filter(action=action).order_by("project__slug", "number")
    return [(row.project.slug, row.actor, row.subject, json.loads(row.detail)) for row in found]


def person(user: User, **changed: Any) -> dict[str, Any]:
    """The form of a person's page, filled in."""
    form = {
        "username": user.username,
        "is_active": user.is_active,
        "is_staff": user.is_staff,
        "is_superuser": user.is_superuser,
        "groups": [group.pk for group in user.groups.all()],
        "user_permissions": [each.pk for each in user.user_permissions.all()],
        "date_joined_0": "2026-01-01",
        "date_joined_1": "00:00:00",
    }
    return {name: value for name, value in (form | changed).items() if value is not False}


def test_a_key_that_is_minted_and_ended_by_staff_leaves_two_rows(client: Client) -> None:
    wanted = {"name": "robot", "project": str(projects.default().pk), "scopes": ["feed:read"]}
    token = client.post("/admin/accounts/credential/mint/", wanted).content.decode()
    key = Credential.objects.get(name="robot")
    client.post(f"/admin/accounts/credential/{key.pk}/end/")
    client.post(f"/admin/accounts/credential/{key.pk}/end/")
    by, about = f"user:{owner('root').pk}", f"key:{key.public_id}"
    told = {"name": "robot", "owner": "root", "scopes": ["feed:read"], "expires_at": None}
    assert rows("key.minted") == [("default", by, about, told)]
    assert rows("key.ended") == [("default", by, about, told)]
    assert token.partition(f"{key.public_id}_")[2][:43] not in json.dumps(rows("key.minted"))


def test_so_does_one_that_is_minted_by_command(ann: User, capsys: Any) -> None:
    ann.user_permissions.add(Permission.objects.get(codename="ask"))
    call_command("create_api_key", user="ann", name="by hand")
    [(_, by, _, told)] = rows("key.minted")
    assert (by, told["owner"]) == ("system:manage.py create_api_key", "ann")


def test_a_childs_token_leaves_none() -> None:
    credentials.mint(kind="child", project=projects.default(), subject="x", attempt=1)
    assert not AuditEntry.objects.exists()


def test_a_key_and_its_row_are_kept_together_or_not_at_all() -> None:
    with pytest.raises(ZeroDivisionError), audit_hook.transaction():
        credentials.mint(kind="api", project=projects.default(), user=owner())
        _ = 1 / 0
    assert not Credential.objects.exists()
    assert not AuditEntry.objects.exists()


def test_who_becomes_a_superuser_is_told_to_every_project(client: Client, ann: User) -> None:
    Project.objects.create(slug="other")
    assert client.post(f"{PEOPLE}/{ann.pk}/change/", person(ann, is_superuser=True)).status_code == 302
    told = {"name": "ann", "gone": False, "superuser": {"before": False, "after": True}}
    by = f"user:{owner('root').pk}"
    assert rows("rights.user") == [(slug, by, f"user:{ann.pk}", told) for slug in ("default", "other")]


def test_who_enters_or_leaves_a_team_is_told_to_its_projects(client: Client, ann: User, team: Group) -> None:
    Project.objects.create(slug="other")
    client.post(f"{PEOPLE}/{ann.pk}/change/", person(ann, groups=[]))
    client.post(f"{PEOPLE}/{ann.pk}/change/", person(ann, groups=[team.pk]))
    changes = [(slug, told["groups"]) for slug, _, _, told in rows("rights.user")]
    assert changes == [
        ("default", {"added": [], "removed": ["team"]}),
        ("default", {"added": ["team"], "removed": []}),
    ]


def test_what_changes_no_right_leaves_no_row(client: Client, ann: User) -> None:
    assert client.post(f"{PEOPLE}/{ann.pk}/change/", person(ann, first_name="Ann")).status_code == 302
    assert User.objects.get(pk=ann.pk).first_name == "Ann"
    assert not AuditEntry.objects.exists()


def test_a_form_that_is_refused_leaves_no_row(client: Client, ann: User) -> None:
    assert client.post(f"{PEOPLE}/{ann.pk}/change/", person(ann, username="", is_superuser=True)).status_code == 200
    assert not AuditEntry.objects.exists()


def test_a_new_password_by_another_leaves_a_row_without_it(client: Client, ann: User) -> None:
    form = {"password1": "long-and-secret-7", "password2": "long-and-secret-7", "usable_password": "true"}
    assert client.get(f"{PEOPLE}/{ann.pk}/password/").status_code == 200
    assert not AuditEntry.objects.exists()
    assert client.post(f"{PEOPLE}/{ann.pk}/password/", form).status_code == 302
    assert [told for _, _, _, told in rows("rights.password")] == [{"name": "ann"}]


def test_so_does_one_by_command(ann: User, monkeypatch: pytest.MonkeyPatch) -> None:
    typed = iter(["one-thing-and-long", "another", "long-and-secret-7", "long-and-secret-7"])
    monkeypatch.setattr("getpass.getpass", lambda prompt: asked_outside_of_a_transaction(next(typed)))
    call_command("changepassword", "ann")
    assert User.objects.get(pk=ann.pk).check_password("long-and-secret-7")
    by = "system:manage.py changepassword"
    assert rows("rights.password") == [("default", by, f"user:{ann.pk}", {"name": "ann"})]


@pytest.mark.parametrize("typed", [["123", "123"] * 3, ["a-long-one-77", "another"] * 3, [""]])
def test_a_password_that_is_not_taken_leaves_none(ann: User, typed: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    answers = iter(typed)
    monkeypatch.setattr("getpass.getpass", lambda prompt: next(answers))
    with pytest.raises(CommandError):
        call_command("changepassword", "ann")
    with pytest.raises(CommandError, match="nobody"):
        call_command("changepassword", "nobody")
    assert User.objects.get(pk=ann.pk).password == ann.password
    assert not AuditEntry.objects.exists()


def test_a_superuser_who_is_made_by_command_is_on_record(monkeypatch: pytest.MonkeyPatch) -> None:
    Project.objects.create(slug="other")
    call_command("createsuperuser", interactive=False, username="eve", email="eve@example.com")
    monkeypatch.setattr("sys.stdin.isatty", lambda: True, raising=False)
    typed = iter(["eve", "una", "una@example.com"])
    monkeypatch.setattr("builtins.input", lambda prompt: asked_outside_of_a_transaction(next(typed)))
    monkeypatch.setattr("getpass.getpass", lambda *prompt: asked_outside_of_a_transaction("long-and-secret-7"))
    call_command("createsuperuser")
    assert User.objects.get(username="una").check_password("long-and-secret-7")
    told = [(slug, by, detail["name"], detail["superuser"]) for slug, by, _, detail in rows("rights.user")]
    by, now = "system:manage.py createsuperuser", {"before": None, "after": True}
    assert told == [(slug, by, name, now) for slug in ("default", "other") for name in ("eve", "una")]


def test_so_is_the_administrator_of_the_first_start(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WARDROOM_DEMO", "0")
    first_start.greet(lambda line: None)
    [(_, by, _, told)] = rows("rights.user")
    assert (by, told["name"]) == ("system:first start", "admin")


def test_who_cannot_be_put_on_record_is_not_made(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(audit_hook, "audit", lambda *told: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        call_command("createsuperuser", interactive=False, username="eve", email="eve@example.com")
    assert not User.objects.filter(username="eve").exists()


def asked_outside_of_a_transaction(answer: str) -> str:
    """While somebody types, nothing is locked. (The test itself is one block.)"""
    assert len(connection.savepoint_ids) == 0
    return answer


def test_who_is_deleted_loses_rights_on_record(client: Client, ann: User) -> None:
    assert client.post(f"{PEOPLE}/{ann.pk}/delete/", {"post": "yes"}).status_code == 302
    assert not User.objects.filter(pk=ann.pk).exists()
    [(_, _, _, told)] = rows("rights.user")
    assert (told["gone"], told["groups"]) == (True, {"added": [], "removed": ["team"]})


def test_who_has_keys_is_made_inactive_and_not_deleted(client: Client, ann: User) -> None:
    """A deletion would take the keys along, of which the chain still speaks."""
    key, token = credentials.mint(kind="api", project=projects.default(), user=ann, name="robot")
    assert "robot" in client.post(f"{PEOPLE}/{ann.pk}/delete/", {"post": "yes"}).content.decode()
    client.post(f"{PEOPLE}/", {"action": "delete_selected", "_selected_action": [ann.pk], "post": "yes"})
    with pytest.raises(ProtectedError):
        ann.delete()
    assert credentials.check(token) == key
    assert not rows("rights.user")
    assert client.post(f"{PEOPLE}/{ann.pk}/change/", person(ann, is_active=False)).status_code == 302
    assert credentials.check(token) is None


def test_what_a_team_may_is_told_to_its_projects(client: Client, team: Group) -> None:
    decide = Permission.objects.get(codename="decide")
    client.post(f"{TEAMS}/{team.pk}/change/", {"name": "team", "permissions": [decide.pk]})
    client.post(TEAMS + "/", {"action": "delete_selected", "_selected_action": [team.pk], "post": "yes"})
    changes = [(slug, told["gone"], told["permissions"]) for slug, _, _, told in rows("rights.group")]
    assert changes == [
        ("default", False, {"added": ["approvals.decide"], "removed": []}),
        ("default", True, {"added": [], "removed": ["approvals.decide"]}),
    ]


def test_who_sees_a_project_is_told_to_it(client: Client, team: Group) -> None:
    other = Project.objects.create(slug="other")
    client.post(f"{PROJECTS}/{other.pk}/change/", {"slug": "other", "name": "", "groups": [team.pk]})
    [(slug, _, _, told)] = rows("rights.project")
    assert (slug, told["groups"]) == ("other", {"added": ["team"], "removed": []})
