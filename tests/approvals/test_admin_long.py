"""A long action in the admin: its size is shown, and its end must be seen before it runs."""

from __future__ import annotations

import pytest
from django.test import Client
from django.urls import reverse

from accounts.models import User
from tests.approvals.admin_page import page_of, press, text_of
from tests.approvals.conftest import Asked

pytestmark = pytest.mark.django_db


LONG = "echo hello" + "\n" * 3000 + "rm -rf /"


def test_how_long_it_is_is_said_and_what_hides_its_end_is_counted(desk: Client, asked: Asked) -> None:
    shown = text_of(desk.get(page_of(asked(arguments={"command": LONG, "command ": "no"}, resource="x"))))
    assert "3,018 characters in 3,001 lines" in shown
    assert '<mark class="wr-gap">2,999 empty lines</mark>' in shown
    assert shown.index("2,999 empty lines") < shown.index("rm -rf /")
    assert "\u201ccommand \u201d" in shown
    assert "Two names look alike" in shown


def test_a_resource_that_repeats_the_command_counts_once(desk: Client, asked: Asked) -> None:
    shown = text_of(desk.get(page_of(asked(arguments={"command": "ls"}, resource="ls"))))
    assert "End of what would run: 2 characters in 1 line." in shown
    shown = text_of(desk.get(page_of(asked(arguments={"command": "ls"}, resource="/tmp"))))
    assert "End of what would run: 6 characters in 2 lines, with the resource." in shown


@pytest.mark.parametrize("decision", ["approve", "edit"])
def test_what_is_long_does_not_run_by_an_answer_that_does_not_say_its_end_was_seen(
    desk: Client, asked: Asked, decision: str
) -> None:
    approval = asked(arguments={"command": LONG})
    form = {"arguments": "{}", "command": LONG, "note": "typed-note"}
    refused = press(desk, approval, decision, **form)
    assert refused.status_code == 422
    assert "3,018 characters in 3,001 lines" in text_of(refused)
    assert "typed-note" in text_of(refused)
    for wrong in ("on", "0" * 64):
        assert press(desk, approval, decision, seen=wrong, **form).status_code == 422
    approval.refresh_from_db()
    assert approval.status == "pending"
    assert press(desk, approval, decision, seen=approval.digest, **form).status_code == 302
    approval.refresh_from_db()
    assert approval.status == "approved"


def test_what_is_long_is_denied_at_once(desk: Client, asked: Asked) -> None:
    approval = asked(arguments={"command": LONG})
    assert press(desk, approval, "deny").status_code == 302


def test_a_login_that_lapsed_at_the_press_leads_back_to_the_page(desk: Client, asked: Asked) -> None:
    approval = asked()
    desk.logout()
    target = reverse("admin:approvals_approval_decide", args=[approval.id])
    sent_away = press(desk, approval, "deny", message="because")
    assert sent_away.headers["Location"] == f"/admin/login/?next={target}"
    desk.force_login(User.objects.get(username="alice"))
    back = desk.get(target, follow=True)
    assert back.redirect_chain == [(page_of(approval), 302)]
    assert "Nothing was decided" in text_of(back)
    approval.refresh_from_db()
    assert approval.status == "pending"
