"""The admin: a queue of one's own projects, a complete page, and an answer that names the shown digest."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from typing import Any
from uuid import UUID, uuid4

import pytest
from django.contrib.auth.models import Permission
from django.test import Client
from django.urls import reverse

from accounts.actors import Actor
from accounts.models import Project, User
from approvals import attempt_clock, decisions
from approvals.adminsite import page as adminsite_page
from approvals.decision_validation import Answer
from approvals.models import Approval
from core.web.problems import Problem
from ledger.models import AuditEntry
from tests.approvals.admin_page import page_of, press, text_of
from tests.approvals.conftest import Asked, Browser
from tests.orchestration import stages

pytestmark = pytest.mark.django_db

QUEUE = "/admin/approvals/approval/"


# --- the queue ------------------------------------------------------------------------------------------------


def test_the_queue_shows_what_waits_oldest_first(desk: Client, asked: Asked, approved: Asked) -> None:
    done, first, second = approved(), asked(tool_name="first-tool"), asked(tool_name="second-tool")
    shown = text_of(desk.get(QUEUE))
    assert shown.index("first-tool") < shown.index("second-tool")
    assert f'data-live-row="{done.id}"' not in shown
    assert 'data-live-count="2"' in shown
    assert first.session and str(first.session)[:8] in shown
    assert str(second.id) in shown


def test_two_requests_of_one_tool_are_told_apart(desk: Client, asked: Asked, project: Project) -> None:
    session = stages.running(title="Nightly release")
    mine = {"session": session.pk, "tool_name": "http", "resource": "https://a.example/users"}
    one = asked(**mine, arguments={"id": 1000, "url": "https://a.example/users"})
    other = asked(**mine, arguments={"id": 1001, "url": "https://a.example/users", "reason": "x" * 70})
    queue = text_of(desk.get(QUEUE))
    page = text_of(desk.get(page_of(one)))
    assert "https://a.example/users · id: 1000<" in queue
    assert f"https://a.example/users · id: 1001, reason: {'x' * 70}<" in queue
    assert f"Request {str(one.id)[:8]} of session" in page
    assert f"<title>http: https://a.example/users · id: 1000 (pending, {str(one.id)[:8]})" in page
    following = page[page.index("Next in the queue") :]
    assert "id: 1001" in following
    assert f"request {str(other.id)[:8]}" in following


def test_a_session_has_its_name_where_the_reader_may_see_it(desk: Client, asked: Asked, alice: User) -> None:
    session = stages.running(title="Nightly \u202erelease")
    approval = asked(session=session.pk)
    for address in (QUEUE, page_of(approval)):
        shown = text_of(desk.get(address))
        assert str(session.pk)[:8] in shown
        assert "Nightly" not in shown
    alice.user_permissions.add(Permission.objects.get(codename="view_session", content_type__app_label="orchestration"))
    for address in (QUEUE, page_of(approval)):
        assert "Nightly \\u{202e}release" in text_of(desk.get(address))


def test_everything_that_ended_is_in_front_of_staff(
    desk: Client, asked: Asked, approved: Asked, project: Project, session: UUID
) -> None:
    """I10: expired and decided-but-never-run have a heading each."""
    waits, unconsumed, expired, withdrawn = asked(), approved(), asked(expires_in_secs=1), asked()
    Approval.objects.filter(pk=expired.pk).update(expires_at=expired.requested_at)
    decisions.expire_due()
    decisions.withdraw(project.pk, withdrawn.id, Actor.system("test"))
    attempt_clock.settle(session, 1)
    shown = {tab: text_of(desk.get(QUEUE, {"status": tab})) for tab in ("unconsumed", "expired", "cancelled")}
    assert str(unconsumed.id) in shown["unconsumed"]
    assert str(expired.id) in shown["expired"]
    assert str(withdrawn.id) in shown["cancelled"]
    assert str(waits.id) in shown["cancelled"]
    assert "never will" in text_of(desk.get(page_of(unconsumed)))


def test_an_empty_queue_says_so(desk: Client) -> None:
    assert "No request waits for an answer." in text_of(desk.get(QUEUE))


def test_the_queue_filters(desk: Client, asked: Asked) -> None:
    mine, other = asked(tool_name="mail", risk="high"), asked()
    for params in ({"tool": "mail"}, {"risk": "high"}, {"tool": "mail", "session": str(mine.session)}):
        shown = text_of(desk.get(QUEUE, params))
        assert str(mine.id) in shown
        assert str(other.id) not in shown
    for params in ({"session": "garbage"}, {"session": str(uuid4())}, {"project": "elsewhere"}):
        assert str(mine.id) not in text_of(desk.get(QUEUE, params))


@pytest.mark.parametrize(
    "params", [{"status": "nonsense"}, {"page": "x"}, {"page": "99"}, {"session": "\0"}, {"tool": "\0"}]
)
def test_a_strange_address_shows_a_queue_and_never_an_error(desk: Client, asked: Asked, params: Any) -> None:
    asked()
    assert desk.get(QUEUE, params).status_code == 200


def test_the_queue_has_pages(desk: Client, asked: Asked, session: UUID, project: Project) -> None:
    other = uuid4()
    attempt_clock.open(project.pk, other, 1)
    rows = [asked(session=other if number > 40 else session) for number in range(60)]
    first, second = text_of(desk.get(QUEUE)), text_of(desk.get(QUEUE, {"page": 2}))
    assert str(rows[0].id) in first
    assert str(rows[59].id) not in first
    assert str(rows[59].id) in second


def test_the_part_that_updates_by_itself_is_the_same_rows(desk: Client, asked: Asked) -> None:
    approval = asked()
    part = desk.get(reverse("admin:approvals_approval_queue"))
    assert str(approval.id) in text_of(part)
    assert "<html" not in text_of(part)


def test_the_queue_is_read_with_few_queries(desk: Client, asked: Asked, django_assert_max_num_queries: Any) -> None:
    for _ in range(20):
        asked()
    with django_assert_max_num_queries(19):
        desk.get(QUEUE)


# --- one approval ---------------------------------------------------------------------------------------------


def test_every_argument_is_shown_whole(desk: Client, asked: Asked) -> None:
    long = "x" * 30_000 + "END-OF-THE-COMMAND"
    approval = asked(arguments={"command": long, "environment": {"HIDDEN": "deep-value"}, "n": [1, {"a": None}]})
    shown = text_of(desk.get(page_of(approval)))
    assert long in shown
    for word in ("HIDDEN", "deep-value", approval.digest, str(approval.session), "execute", approval.request_id):
        assert word in shown


def test_what_the_agent_says_is_boxed_below_the_facts(desk: Client, asked: Asked) -> None:
    shown = text_of(desk.get(page_of(asked(question="It is quite harmless."))))
    assert shown.index("Digest") < shown.index("Written by the agent, unverified") < shown.index("quite harmless")


HOSTILE = "<script>alert(1)</script>{{ 7|add:7 }}\u202egnp.exe\u200b\x1b[2J"


def test_nothing_from_an_agent_is_markup_or_hidden(desk: Client, asked: Asked, session: UUID, project: Project) -> None:
    fields = ("tool_name", "permission", "resource", "question", "tool_call_id", "tool_schema_version", "request_id")
    approval = asked(arguments={HOSTILE: HOSTILE, "list": [HOSTILE]}, **dict.fromkeys(fields, HOSTILE))
    decisions.withdraw(project.pk, approval.id, Actor.system(HOSTILE), HOSTILE)
    other = asked(tool_name=HOSTILE, resource=HOSTILE)
    pages = [desk.get(address) for address in (page_of(approval), page_of(other), QUEUE, f"{QUEUE}?status=cancelled")]
    for page in map(text_of, pages):
        assert "<script>alert" not in page
        assert "{{ 7" in page
        assert not re.search("[\u202e\u200b\x1b]", page)
        assert "\\u{202e}" in page


def test_words_that_read_as_others_are_pointed_out(desk: Client, asked: Asked) -> None:
    shown = text_of(desk.get(page_of(asked(arguments={"url": "https://p\u0430ypal.example"}))))
    assert "Cyrillic" in shown


def test_nothing_approves_by_default(desk: Client, asked: Asked) -> None:
    shown = text_of(desk.get(page_of(asked())))
    assert "autofocus" not in shown
    assert not re.search(r'<input type="(text|search)"[^>]*(message|note|command)', shown)


def test_a_deadline_of_none_is_said(desk: Client, asked: Asked) -> None:
    assert "no deadline" in text_of(desk.get(page_of(asked())))
    assert "Expires" in text_of(desk.get(page_of(asked(expires_in_secs=60))))


# --- answering ------------------------------------------------------------------------------------------------


def test_approving_by_hand(desk: Client, asked: Asked, alice: User) -> None:
    approval = asked()
    answer = press(desk, approval, "approve", message="go\r\non", note="fine")
    assert (answer.status_code, answer.headers["Location"]) == (302, page_of(approval))
    approval.refresh_from_db()
    assert (approval.status, approval.decided_via, approval.message) == ("approved", "admin", "go\non")
    assert approval.decided_by["user_id"] == alice.pk
    assert AuditEntry.objects.filter(action="approval.decided").count() == 1
    shown = text_of(desk.get(page_of(approval)))
    assert "alice approved it" in shown
    assert "fine" in shown
    assert 'name="decision"' not in shown


def test_denying_by_hand_tells_the_agent_why(desk: Client, asked: Asked) -> None:
    approval = asked()
    press(desk, approval, "deny", message="Not today.")
    approval.refresh_from_db()
    assert (approval.status, approval.message) == ("denied", "Not today.")


def test_editing_a_command_runs_the_edited_one(desk: Client, asked: Asked) -> None:
    approval = asked(arguments={"command": "rm -rf /", "folder": "/srv"})
    form = {"command": "ls\r\n-l", "arguments": '{"folder": "/srv"}'}
    assert press(desk, approval, "edit", **form).status_code == 302
    approval.refresh_from_db()
    assert approval.arguments == {"command": "ls\n-l", "folder": "/srv"}
    shown = text_of(desk.get(page_of(approval)))
    assert shown.index("Proposed by the agent") < shown.index("rm -rf /") < shown.index("Approved to run instead")
    assert approval.proposed_digest in shown
    assert approval.digest in shown


def test_an_edit_that_is_no_json_is_told_where(desk: Client, asked: Asked) -> None:
    answer = press(desk, asked(tool_name="mail"), "edit", arguments='{"cwd": "/tmp",}')
    assert answer.status_code == 422
    assert "not JSON: Expecting property name enclosed in double quotes (at 15)" in text_of(answer)


def test_editing_any_tool_by_its_json(desk: Client, asked: Asked) -> None:
    approval = asked(tool_name="mail", arguments={"to": "a"})
    press(desk, approval, "edit", arguments='{"to": "b"}')
    approval.refresh_from_db()
    assert (approval.arguments, approval.proposed_arguments) == ({"to": "b"}, {"to": "a"})


@pytest.mark.parametrize("broken", ["{", "[]", "7", '{"a": 1, "a": 2}', '{"a": NaN}', '{"a": "\\u0000"}', "", "x\0"])
def test_what_cannot_run_is_not_approved_and_the_typing_is_kept(desk: Client, asked: Asked, broken: str) -> None:
    approval = asked(tool_name="mail")
    answer = press(desk, approval, "edit", arguments=broken, note="typed-note")
    if broken == "":
        return  # An empty object is an object.
    assert answer.status_code == 422
    assert "typed-note" in text_of(answer)
    approval.refresh_from_db()
    assert approval.status == "pending"


def test_hidden_characters_are_escaped_in_the_editor(desk: Client, asked: Asked) -> None:
    shown = text_of(desk.get(page_of(asked(arguments={"command": "ls\u202e"}))))
    assert 'name="command"' not in shown
    assert "\\u202e" in shown


def test_a_question_is_answered_in_words(desk: Client, asked: Asked) -> None:
    approval = asked(allowed_decisions=["respond"], arguments=None, question="Which?")
    assert 'value="approve"' not in text_of(desk.get(page_of(approval)))
    assert press(desk, approval, "respond").status_code == 422
    assert press(desk, approval, "respond", message="The first.").status_code == 302
    approval.refresh_from_db()
    assert approval.decision_kind == "respond"


def test_a_late_press_is_told_who_decided_what(desk: Client, browser: Browser, bob: User, asked: Asked) -> None:
    approval = asked()
    press(browser(bob), approval, "deny")
    late = press(desk, approval, "approve")
    assert late.status_code == 409
    assert "Too late" in text_of(late)
    assert "bob denied it" in text_of(late)
    assert 'name="decision"' not in text_of(late)
    approval.refresh_from_db()
    assert approval.status == "denied"


def test_a_press_after_the_deadline_is_expired(desk: Client, asked: Asked) -> None:
    approval = asked(expires_in_secs=60)
    Approval.objects.filter(pk=approval.pk).update(expires_at=approval.requested_at)
    assert press(desk, approval, "approve").status_code == 410
    approval.refresh_from_db()
    assert approval.status == "expired"


@pytest.mark.parametrize(
    ("form", "status"),
    [
        ({"digest": "0" * 64}, 409),
        ({"version": "2"}, 409),
        ({"digest": ""}, 422),
        ({"version": ""}, 422),
        ({"version": "x"}, 422),
        ({"decision": ""}, 422),
        ({"decision": "respond"}, 422),
        ({"message": "a\0b"}, 422),
        ({"note": "x" * 20_000}, 422),
    ],
)
def test_a_press_must_carry_what_was_shown(desk: Client, asked: Asked, form: Any, status: int) -> None:
    approval = asked()
    assert press(desk, approval, **{"decision": "approve", **form}).status_code == status
    approval.refresh_from_db()
    assert approval.status == "pending"


def test_looking_decides_nothing(desk: Client, asked: Asked) -> None:
    approval = asked()
    target = reverse("admin:approvals_approval_decide", args=[approval.id])
    form = {"decision": "approve", "version": 1, "digest": approval.digest}
    assert desk.get(target, form).status_code == 302
    approval.refresh_from_db()
    assert approval.status == "pending"


def test_a_press_needs_the_csrf_token(alice: User, asked: Asked) -> None:
    client = Client(enforce_csrf_checks=True)
    client.force_login(alice)
    assert press(client, asked(), "approve").status_code == 403
    assert Approval.objects.get().status == "pending"


# --- who may what ---------------------------------------------------------------------------------------------


def test_who_may_only_look_sees_no_buttons_and_presses_none(browser: Browser, viewer: User, asked: Asked) -> None:
    client, approval = browser(viewer), asked()
    shown = text_of(client.get(page_of(approval)))
    assert approval.digest in shown
    assert 'name="decision"' not in shown
    assert press(client, approval, "approve").status_code == 403
    approval.refresh_from_db()
    assert approval.status == "pending"


def test_a_stranger_sees_and_answers_nothing(browser: Browser, stranger: User, asked: Asked) -> None:
    client, approval = browser(stranger), asked()
    assert str(approval.id) not in text_of(client.get(QUEUE))
    unknown = Approval(id=uuid4(), digest="0" * 64)
    for name in ("change", "part", "decide", "history", "delete"):
        known, other = (
            client.get(reverse(f"admin:approvals_approval_{name}", args=[row.id])) for row in (approval, unknown)
        )
        assert known.status_code == other.status_code
    assert press(client, approval, "approve").status_code == press(client, unknown, "approve").status_code == 404
    approval.refresh_from_db()
    assert approval.status == "pending"


def test_nobody_signed_out_and_nobody_without_the_permission_sees_the_queue(
    browser: Browser, alice: User, asked: Asked
) -> None:
    approval = asked()
    alice.user_permissions.clear()
    for client, status in ((Client(), 302), (browser(alice), 403)):
        for address in (QUEUE, page_of(approval), reverse("admin:approvals_approval_queue")):
            assert client.get(address).status_code == status
        assert press(client, approval, "approve").status_code == status


def test_rows_are_added_changed_and_deleted_by_nobody(browser: Browser, admin_user: Any, asked: Asked) -> None:
    client, approval = browser(admin_user), asked()
    before = Approval.objects.filter(pk=approval.pk).values().get()
    assert client.get(f"{QUEUE}add/").status_code == 403
    assert client.post(f"{QUEUE}add/", {"tool_name": "x"}).status_code == 403
    assert (
        client.post(reverse("admin:approvals_approval_delete", args=[approval.id]), {"post": "yes"}).status_code == 403
    )
    client.post(page_of(approval), {"status": "approved", "_save": "1"})
    client.post(QUEUE, {"action": "delete_selected", "_selected_action": [str(approval.id)], "post": "yes"})
    assert Approval.objects.filter(pk=approval.pk).values().get() == before


def test_the_same_person_in_the_admin_and_by_rest_is_one_person(
    desk: Client, asked: Asked, alice: User, bearer: Callable[..., dict[str, str]], project: Project
) -> None:
    approval = asked()
    press(desk, approval, "deny")
    answer = Client().post(
        f"/api/v1/approvals/{approval.id}/decide",
        json.dumps({"decision": "deny"}),
        content_type="application/json",
        headers=bearer(project, alice),
    )
    assert answer.status_code == 200


def test_the_verb_itself_refuses_who_may_only_look(project: Project, viewer: User, asked: Asked) -> None:
    approval = asked()
    with pytest.raises(Problem) as refusal:
        answer = Answer(decision="deny", digest=approval.digest)
        decisions.decide(project.pk, approval.id, answer, Actor.of_user(viewer), "admin")
    assert refusal.value.type == "not-an-approver"


def test_staff_are_warned_of_letters_that_turn_what_stands_around_them(asked: Asked) -> None:
    (warning,) = adminsite_page.warnings(asked(arguments={"command": "mv א 1 2 ב"}))
    assert "right to left" in warning
    assert adminsite_page.warnings(asked()) == []
