"""Reviewers by REST and in the admin, and the rules that name them."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.test import Client

from accounts.models import Project, User
from approvals.models import Reviewer, Rule
from approvals.review import reviewers, round
from core.db.clock import read_database_clock
from core.web import problems
from ledger.models import AuditEntry
from tests.approvals.conftest import Browser, staff
from tests.approvals.review.conftest import Reviewing, add, said
from tests.approvals.rules.conftest import EDITOR, Ruled
from tests.approvals.rules.test_admin import FORM
from tests.approvals.test_rest import Caller
from tests.ledger.webhooks.receiver import Receiver

pytestmark = pytest.mark.django_db
URL = "/api/v1/reviewers"
LIST = "/admin/approvals/reviewer/"
Bearer = Callable[..., dict[str, str]]


@pytest.fixture
def rest(client: Client, project: Project, bearer: Bearer) -> Callable[..., Any]:
    headers = bearer(project, scopes=["rules:write"])

    def call(method: str, path: str, body: Any = None) -> Any:
        said = "" if body is None else json.dumps(body)
        return client.generic(method, path, said, "application/json", headers=headers)

    return call


def test_the_life_of_a_reviewer_by_rest(rest: Callable[..., Any], project: Project, ruled: Ruled) -> None:
    made = rest("POST", URL, {"name": "careful", "url": "http://127.0.0.1:9/x"})
    assert made.status_code == 201, made.content
    one = f"{URL}/{made.json()['id']}"
    assert made["Location"] == one
    assert made.json()["secret"].startswith("whsec_")
    shown = rest("GET", one).json()
    assert "secret" not in shown and (shown["kind"], shown["at_once"], shown["waiting"]) == ("webhook", 4, 0)
    assert rest("GET", URL).json()["results"] == [shown]
    changed = rest("PUT", one, {"name": "careful", "url": "http://127.0.0.1:9/y", "at_once": 2})
    assert (changed.status_code, changed.json()["url"], changed.json()["at_once"]) == (200, "http://127.0.0.1:9/y", 2)
    rotated = rest("POST", f"{one}/rotate", {}).json()
    assert rotated["secret"] != made.json()["secret"] and rotated["previous_secret_until"]
    ruled(outcome="review", review={"reviewer": "careful"})
    assert rest("PUT", one, {"name": "other", "url": "http://127.0.0.1:9/y"}).status_code == 409
    refused = rest("DELETE", one)
    assert (refused.status_code, refused.json()["rules"]) == (409, ["one"])
    Rule.objects.all().delete()
    assert rest("DELETE", one).status_code == 204
    assert rest("GET", one).status_code == 404
    changes = AuditEntry.objects.filter(subject=f"reviewer:{made.json()['id']}").order_by("number")
    assert [row.action.split(".")[1] for row in changes] == ["created", "changed", "secret_rotated", "deleted"]
    assert "127.0.0.1:9/y" not in "".join(row.detail for row in changes)


@pytest.mark.parametrize(
    ("said", "field"),
    [
        ({"url": "http://169.254.169.254/"}, "url"),
        ({"url": "file:///etc/passwd"}, "url"),
        ({"url": "http://user:pass@127.0.0.1/"}, "url"),
        ({}, "url"),
        ({"url": "http://127.0.0.1/", "entry_point": "x"}, "url"),
        ({"entry_point": "unheard-of"}, "entry_point"),
        ({"url": "http://127.0.0.1/", "at_once": 0}, "at_once"),
        ({"url": "http://127.0.0.1/", "secret": "mine"}, "secret"),
    ],
)
def test_a_wrong_reviewer_is_a_clear_error(rest: Callable[..., Any], said: Any, field: str) -> None:
    answer = rest("POST", URL, {"name": "careful", **said})
    assert (answer.status_code, [error["field"] for error in answer.json()["errors"]]) == (422, [field])


def test_private_addresses_are_refused_unless_the_server_allows_them(rest: Callable[..., Any], settings: Any) -> None:
    settings.WEBHOOKS_PRIVATE = False
    for url in ("http://127.0.0.1:9/", "https://127.0.0.1/", "https://10.0.0.1/", "https://[::1]/"):
        assert rest("POST", URL, {"name": "careful", "url": url}).status_code == 422


def test_the_address_is_checked_at_each_call_too(reviewing: Reviewing, receiver: Receiver, settings: Any) -> None:
    approval = reviewing()
    settings.WEBHOOKS_PRIVATE = False
    round.run()
    approval.refresh_from_db()
    assert receiver.got == []
    assert approval.reviews[0]["note"].startswith("the URL must begin with https://")


def test_reviewers_of_other_projects_cannot_be_named(
    rest: Callable[..., Any], elsewhere: Project, project: Project
) -> None:
    theirs, _ = add(elsewhere, "theirs", url="http://127.0.0.1:9/")
    assert rest("GET", f"{URL}/{theirs.pk}").status_code == 404
    assert rest("DELETE", f"{URL}/{theirs.pk}").status_code == 404
    rule = {"name": "one", "outcome": "review", "review": {"reviewer": "theirs"}}
    answer = rest("POST", "/api/v1/rules", rule)
    assert [error["field"] for error in answer.json()["errors"]] == ["review.reviewer"]


@pytest.mark.parametrize(
    ("rule", "field"),
    [
        ({"review": {"reviewer": "unheard-of"}}, "review.reviewer"),
        ({"review": {"reviewer": "careful", "deadline_secs": 121}}, "review.deadline_secs"),
        ({"review": {"reviewer": "careful", "deadline_secs": 0}}, "review.deadline_secs"),
        ({"review": {"reviewer": "careful", "may_deny": True}}, "review.may_deny"),
        ({"review": {"reviewer": "careful"}, "outcome": "allow"}, "review"),
    ],
)
def test_a_rule_with_a_wrong_review_is_refused(
    rest: Callable[..., Any], project: Project, rule: Any, field: str
) -> None:
    add(project, "careful", url="http://127.0.0.1:9/")
    answer = rest("POST", "/api/v1/rules", {"name": "one", "outcome": "review", **rule})
    assert (answer.status_code, [error["field"] for error in answer.json()["errors"]]) == (422, [field])


def test_the_asker_does_not_read_the_note(
    client: Client, project: Project, reviewing: Reviewing, receiver: Receiver, bearer: Bearer, alice: User
) -> None:
    approval = reviewing()
    receiver.answers = [said("ASK\n<b>suspicious</b>")]
    round.run()
    path = f"/{approval.id}"
    staff_sees = Caller(bearer(project, alice, scopes=["approvals:read"])).get(path).json()["reviews"]
    child_sees = Caller(bearer(project, session=approval.session)).get(f"{path}/wait", timeout=0).json()["reviews"]
    assert [(each["state"], each["note"]) for each in staff_sees] == [("ask", "<b>suspicious</b>")]
    assert [(each["state"], each["note"]) for each in child_sees] == [("ask", None)]


def test_the_page_and_the_queue_show_the_review_as_text(reviewing: Reviewing, receiver: Receiver, desk: Client) -> None:
    approval = reviewing()
    page = f"/admin/approvals/approval/{approval.id}/change/"
    for address in (page, "/admin/approvals/approval/"):
        assert "under review by careful" in desk.get(address).content.decode()
    receiver.answers = [said("ALLOW\n<script>x</script>\u202eevil password=hunter2hunter2")]
    round.run()
    shown = desk.get(page).content.decode()
    assert "under review by" not in shown
    assert "says ALLOW, which answers nothing: a rule wants people" in shown and "not verified" in shown
    assert "<script>x" not in shown and "\u202e" not in shown and "hunter2" not in shown
    assert "reviewed it: allow" in shown


@pytest.mark.parametrize(
    ("answer", "ours", "theirs"),
    [
        (said("ALLOW: fine"), "gave no verdict: the first line is none of ALLOW, DENY, ASK (11 characters", ""),
        (said(""), "gave no verdict: the reply is empty <", ""),
        (said("ASK\nlook"), "leaves it to people <", "look"),
    ],
)
def test_only_words_of_the_reviewer_are_framed_as_not_verified(
    reviewing: Reviewing, receiver: Receiver, desk: Client, answer: Any, ours: str, theirs: str
) -> None:
    approval = reviewing()
    receiver.answers = [answer]
    round.run()
    shown = desk.get(f"/admin/approvals/approval/{approval.id}/change/").content.decode()
    assert ours in shown
    framed = re.findall(r'not verified</span><p class="ap-lines">(.*?)</p>', shown)
    assert framed == ([theirs] if theirs else [])


def test_reviewers_in_the_admin(project: Project, browser: Browser, alice: User) -> None:
    editor, viewer = browser(staff("editor", project, "change_rule")), browser(staff("viewer", project, "view_rule"))
    form = {"name": "careful", "url": "http://127.0.0.1:9/x", "entry_point": "", "at_once": "2"}
    assert viewer.get(LIST).status_code == viewer.get(f"{LIST}add/").status_code == 403
    assert viewer.post(f"{LIST}add/", {**form, "project": str(project.pk)}).status_code == 403
    made = editor.post(f"{LIST}add/", {**form, "project": str(project.pk)})
    row = Reviewer.objects.get()
    assert "whsec_" in made.content.decode() and "no-store" in made["Cache-Control"]
    page = f"{LIST}{row.pk}/change/"
    assert "whsec_" not in editor.get(page).content.decode() and "careful" in editor.get(LIST).content.decode()
    assert editor.post(page, {**form, "at_once": "3"}).status_code == 302
    wrong = editor.post(page, {**form, "url": "ftp://x/"})
    assert (wrong.status_code, list(wrong.context["form"].errors)) == (422, ["url"])
    assert "whsec_" in editor.post(f"{LIST}{row.pk}/rotate/").content.decode()
    for action in ("rotate", "remove"):
        assert viewer.post(f"{LIST}{row.pk}/{action}/").status_code == 403
        assert editor.get(f"{LIST}{row.pk}/{action}/").status_code == 302
    assert Reviewer.objects.get().at_once == 3
    editor.post(f"{LIST}{row.pk}/remove/")
    assert not Reviewer.objects.exists()


def test_the_form_of_a_rule_names_a_reviewer(project: Project, browser: Browser, alice: User, bob: User) -> None:
    editor = browser(staff("editor", project, "add_rule", "change_rule"))
    add(project, "careful", url="http://127.0.0.1:9/")
    form = {**FORM, "outcome": "review", "reviewer": "careful", "review_secs": "9", "may_allow": "on"}
    new = "/admin/approvals/rule/add/"
    wrong = editor.post(new, {**form, "reviewer": "nobody", "project": str(project.pk)})
    assert "reviewer" in wrong.context["form"].errors
    editor.post(new, {**form, "project": str(project.pk)})
    rule = Rule.objects.get()
    assert rule.review == {"reviewer": "careful", "deadline_secs": 9, "may_allow": True}
    page = f"/admin/approvals/rule/{rule.id}/change/"
    assert editor.post(page, {**form, "version": "1"}).status_code == 302
    assert Rule.objects.get().version == 1
    editor.post(page, {**FORM, "outcome": "ask", "version": "1"})
    assert Rule.objects.get().review is None


def test_a_file_of_rules_names_reviewers_that_are_there(project: Project, tmp_path: Path) -> None:
    add(project, "careful", url="http://127.0.0.1:9/")
    path = tmp_path / "rules.yaml"
    text = "rules:\n  - name: one\n    outcome: review\n    review: {reviewer: %s, may_allow: true}\n"
    path.write_text(text % "nobody")
    with pytest.raises(CommandError, match="no reviewer of this name"):
        call_command("apply_rules", str(path))
    path.write_text(text % "careful")
    call_command("apply_rules", str(path))
    assert Rule.objects.get().review == {"reviewer": "careful", "deadline_secs": 30, "may_allow": True}


PROGRAM = """
import os, sys, time
print("noise on import")

def careful(request):
    print("noise")
    word = request["request"]["arguments"]["command"]
    if word == "hang":
        time.sleep(600)
    if word == "raise":
        raise ValueError("no")
    if word == "exit":
        sys.exit(0)
    if word == "long":
        return "ALLOW" + "x" * 200_000
    if word == "environment":
        return "ASK\\n" + " ".join(each for each in os.environ.values() if each in ("leaked", "wanted"))
    if word == "nothing":
        return None
    return word + "\\nof a program"
"""


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A package with a reviewer is installed, as pip leaves it."""
    (tmp_path / "acme_reviewer.py").write_text(PROGRAM)
    info = tmp_path / "acme_reviewer-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: acme-reviewer\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[wardroom.reviewers]\nacme = acme_reviewer:careful\n")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(round, "IDLE_SECS", 0.0)


@pytest.mark.usefixtures("package")
def test_a_program_of_an_installed_package_reviews_in_a_process_of_its_own(
    project: Project, ruled: Ruled, asked: Callable[..., Any]
) -> None:
    assert "acme" in reviewers.installed()
    add(project, "program", entry_point="acme", at_once=8)
    ruled(name="looked at", outcome="review", review={"reviewer": "program"})
    ruled(
        name="soon", match={"resources": ["hang"]}, outcome="review", review={"reviewer": "program", "deadline_secs": 1}
    )
    words = ["DENY", "ASK", "hang", "raise", "exit", "long", "nothing"]
    rows = {word: asked(resource=word, arguments={"command": word}) for word in words}
    round.run()
    found = {}
    for word, row in rows.items():
        row.refresh_from_db()
        found[word] = row.reviews[0]["state"], row.status, row.reviews[0]["note"]
    assert found["DENY"] == ("deny", "denied", "of a program")
    assert found["ASK"] == ("ask", "pending", "of a program")
    notes = {word: note for word, (state, status, note) in found.items() if (state, status) == ("failed", "pending")}
    assert notes["raise"] == "it raised ValueError: no"
    assert notes["nothing"] == "it raised TypeError: it returned NoneType, not a text"
    assert "larger" in notes["long"]
    assert notes["hang"] in ("no answer within 1 s", "no verdict in time")
    assert set(notes) == {"hang", "raise", "exit", "long", "nothing"}


def test_a_program_has_no_secret_to_rotate(project: Project) -> None:
    said = {"name": "p", "kind": "program", "entry_point": "acme", "changed_at": read_database_clock()}
    row = Reviewer.objects.create(project=project, changed_by={}, **said)
    with pytest.raises(problems.Problem) as refusal:
        reviewers.rotate(project.pk, row.pk, EDITOR)
    assert refusal.value.status == 409
