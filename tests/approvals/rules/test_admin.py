"""Rules in the admin: a form without raw JSON, at the version that was shown, and a preview that saves nothing."""

from __future__ import annotations

from typing import Any

import pytest
from django.contrib.auth.models import Permission
from django.test import Client

from accounts.actors import Actor
from accounts.models import Project, User
from approvals.models import Rule
from approvals.review import reviewers
from approvals.review.bodies import ReviewerBody
from approvals.rules import editing, schemas
from ledger.models import AuditEntry
from tests.approvals.admin_page import text_of
from tests.approvals.conftest import Asked, Browser, staff
from tests.approvals.rules.conftest import EDITOR, Ruled, body

pytestmark = pytest.mark.django_db
NEW = "/admin/approvals/rule/add/"
#: A form as a browser sends it.
FORM = {
    "name": "no shells", "outcome": "deny", "message": "Use the editor.", "enabled": "on", "tools": "shell\r\nbash*",
    "permissions": "", "resources": "", "roles": "", "tree_roles": "", "risk": ["high"], "depth_min": "",
    "depth_max": "3",
    "when": 'arguments.command != ""', "raise_risk": "", "raise_reversibility": "", "users": "alice\r\nbob",
    "groups": "", "quorum": "2", "four_eyes": "on", "deadline_secs": "600", "on_expiry": "expire",
    "remind_after_secs": "60\r\n120",
    "step0_after": "300", "step0_users": "bob", "step0_groups": "", "step1_after": "",
    "step1_users": "", "step1_groups": "",
}  # fmt: skip


@pytest.fixture
def editor(project: Project, browser: Browser, alice: User, bob: User) -> Client:
    """A person with the rights to add, change and delete rules of the project."""
    user = staff("editor", project, "add_rule", "change_rule", "delete_rule", "view_approval", "decide")
    return browser(user)


def page(rule: Rule) -> str:
    return f"/admin/approvals/rule/{rule.id}/change/"


def test_a_rule_is_added_by_the_form(editor: Client, project: Project) -> None:
    assert editor.get(NEW).status_code == 200
    answer = editor.post(NEW, {**FORM, "project": str(project.pk)})
    rule = Rule.objects.get()
    assert (answer.status_code, answer["Location"]) == (302, page(rule))
    shown = schemas.plain(rule)
    assert shown["match"] | {"permissions": [], "roles": []} == shown["match"]
    assert (shown["match"]["tools"], shown["match"]["risk"], shown["match"]["depth"]) == (
        ["shell", "bash*"],
        ["high"],
        {"min": None, "max": 3},
    )
    assert (shown["approvers"]["users"], shown["approvers"]["quorum"], shown["four_eyes"]) == (
        ["alice", "bob"],
        2,
        True,
    )
    assert (shown["remind_after_secs"], shown["escalate"]) == (
        [60, 120],
        [{"after_secs": 300, "users": ["bob"], "groups": []}],
    )
    assert AuditEntry.objects.get(action="rule.created").actor.startswith("user:")


def test_an_unchanged_form_changes_nothing_and_a_change_is_a_new_version(editor: Client, project: Project) -> None:
    editor.post(NEW, {**FORM, "project": str(project.pk)})
    rule = Rule.objects.get()
    shown = editor.get(page(rule)).content.decode()
    assert "shell\nbash*" in shown and 'name="version" value="1"' in shown
    assert editor.post(page(rule), {**FORM, "version": "1"}).status_code == 302
    assert Rule.objects.get().version == 1
    editor.post(page(rule), {**FORM, "outcome": "ask", "version": "1"})
    assert (Rule.objects.get().version, Rule.objects.get().outcome) == (2, "ask")
    late = editor.post(page(rule), {**FORM, "outcome": "allow", "version": "1"})
    assert late.status_code == 422
    assert "it is at version 2" in late.content.decode()


@pytest.mark.parametrize(
    ("said", "field"),
    [
        ({"when": "user == 1"}, "when"),
        ({"tools": "*" * 17}, "tools"),
        ({"users": "nobody"}, "users"),
        ({"quorum": "9"}, "quorum"),
        ({"remind_after_secs": "soon"}, "remind_after_secs"),
        ({"remind_after_secs": "600"}, "remind_after_secs"),
        ({"step0_after": "599"}, "step0_after"),
        ({"step0_users": "nobody"}, "step0_users"),
        ({"step0_users": ""}, "step0_users"),
        ({"depth_min": "-1"}, "depth_min"),
        ({"name": "disabled_tools"}, "name"),
        ({"deadline_secs": "-5"}, "deadline_secs"),
    ],
)
def test_a_fault_is_shown_at_its_field(editor: Client, project: Project, said: Any, field: str) -> None:
    answer = editor.post(NEW, {**FORM, **said, "project": str(project.pk)})
    assert answer.status_code == 422
    assert field in answer.context["form"].errors, answer.context["form"].errors
    assert not Rule.objects.exists()


EMPTY: dict[str, Any] = dict.fromkeys(("tools", "permissions", "resources", "depth_max", "when"), "") | {"risk": []}


def test_a_rule_that_allows_everything_needs_a_tick(editor: Client, project: Project) -> None:
    form = {**FORM, **EMPTY, "outcome": "allow", "quorum": "1", "four_eyes": "", "project": str(project.pk)}
    assert "matches every request" in editor.get(NEW).content.decode()
    for tools in ("", "*"):
        refused = editor.post(NEW, {**form, "tools": tools})
        assert refused.status_code == 422
        assert "matches_everything" in refused.context["form"].errors
    assert editor.post(NEW, {**form, "preview": "1"}).status_code == 200
    assert not Rule.objects.exists()
    assert editor.post(NEW, {**form, "matches_everything": "on"}).status_code == 302
    rule = Rule.objects.get()
    assert "It matches every request of the project." in editor.get(page(rule)).content.decode()
    # The tick is an answer to one form, and no property of the rule.
    assert editor.post(page(rule), {**form, "message": "x", "version": "1"}).status_code == 422
    assert editor.post(page(rule), {**form, "outcome": "ask", "version": "1"}).status_code == 302


def test_the_list_says_what_each_rule_matches(editor: Client, ruled: Ruled) -> None:
    ruled(name="narrow", match={"tools": ["shell", "bash*"], "risk": ["high"], "depth": {"min": 1}, "when": "1 == 1"})
    ruled(name="wide", match={})
    shown = editor.get("/admin/approvals/rule/").content.decode()
    assert "tools: shell, bash*; risk: high; depth: 1 or more; when: 1 == 1" in shown
    assert "every request" in shown
    assert 'href="/admin/approvals/rule/add/' in shown


def test_a_preview_saves_nothing(editor: Client, project: Project, asked: Asked) -> None:
    asked(risk="high", arguments={"command": "rm x"})
    shown = editor.post(NEW, {**FORM, "project": str(project.pk), "preview": "1"}).content.decode()
    assert "Of 1 requests it matches 1" in shown and "deny 1" in shown
    assert not Rule.objects.exists()


def test_rules_of_other_projects_are_not_there(editor: Client, elsewhere: Project) -> None:
    other = editing.create(elsewhere.pk, body(name="theirs"), EDITOR)
    assert "theirs" not in editor.get("/admin/approvals/rule/").content.decode()
    assert editor.get(page(other)).status_code == 404
    assert editor.post(f"/admin/approvals/rule/{other.id}/remove/").status_code == 404
    assert editor.post(NEW, {**FORM, "project": str(elsewhere.pk)}).status_code == 422
    assert Rule.objects.count() == 1


def test_each_right_gives_its_own_page(ruled: Ruled, project: Project, browser: Browser) -> None:
    rule = ruled(name="shown", message="Use the editor.")
    viewer = browser(staff("viewer", project, "view_rule"))
    shown = viewer.get(page(rule)).content.decode()
    assert "Use the editor." in shown and "<form" not in shown.split("content-main")[1]
    assert viewer.get(NEW).status_code == 403
    assert viewer.post(f"/admin/approvals/rule/{rule.id}/remove/").status_code == 403
    viewer.post(page(rule), FORM)
    nobody = browser(staff("nobody", project, "decide"))
    assert nobody.get(page(rule)).status_code == 403
    rule.refresh_from_db()
    assert rule.version == 1
    User.objects.get(username="viewer").user_permissions.add(Permission.objects.get(codename="delete_rule"))
    viewer.get(f"/admin/approvals/rule/{rule.id}/remove/")
    assert Rule.objects.exists()
    viewer.post(f"/admin/approvals/rule/{rule.id}/remove/")
    assert not Rule.objects.exists()


def test_the_report_of_a_silent_rule_counts_its_answers_beside_the_requests(
    editor: Client, ruled: Ruled, asked: Asked
) -> None:
    rule = ruled(name="silent", shadow=True)
    asked()
    shown = editor.get(page(rule)).content.decode()
    assert "<td>deny</td><td>pending</td><td>1</td>" in shown


def test_hostile_names_are_shown_as_text(editor: Client, project: Project) -> None:
    editor.post(NEW, {**FORM, "name": "<script>x</script>", "project": str(project.pk)})
    rule = Rule.objects.get()
    for address in (page(rule), "/admin/approvals/rule/"):
        assert "<script>x" not in editor.get(address).content.decode()


def test_the_reviewer_of_a_rule_is_one_of_the_project(editor: Client, project: Project, elsewhere: Project) -> None:
    assert "There is no reviewer yet." in text_of(editor.get(NEW))
    for name, where in (("careful", project), ("foreign", elsewhere)):
        said = ReviewerBody(name=name, url="https://r.example/")
        reviewers.create(where.pk, said, Actor.system("test"))
    shown = text_of(editor.get(NEW))
    assert '<option value="careful">' in shown and "foreign" not in shown
    form = FORM | {"outcome": "review", "message": "", "project": str(project.pk)}
    assert editor.post(NEW, form | {"reviewer": "careful"}).status_code == 302
    assert Rule.objects.get().review == {"reviewer": "careful", "deadline_secs": 30, "may_allow": False}
    assert '<option value="careful" selected>' in text_of(editor.get(page(Rule.objects.get())))
    refused = editor.post(NEW, form | {"name": "two", "reviewer": "foreign"})
    assert (refused.status_code, list(refused.context["form"].errors)) == (422, ["reviewer"])
