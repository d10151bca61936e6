"""Grants in the admin: ready choices on the page of a request, a list with counts, one click to revoke."""

from __future__ import annotations

import re
from typing import Any

import pytest
from django.test import Client

from accounts.models import User
from approvals.grants import endings
from approvals.models import Approval, Grant
from tests.approvals.admin_page import page_of, press, text_of
from tests.approvals.conftest import Asked, Browser
from tests.approvals.grants.conftest import HARMLESS, Remembered

pytestmark = pytest.mark.django_db

LIST = "/admin/approvals/grant/"


def of(grant: Grant) -> str:
    return f"{LIST}{grant.id}/change/"


def offered(desk: Client, approval: Approval) -> set[str]:
    return set(re.findall(r'<option value="((?:session|tree|role)-[a-z]+)"', text_of(desk.get(page_of(approval)))))


def test_a_request_is_approved_with_a_ready_choice(desk: Client, asked: Asked) -> None:
    approval = asked(**HARMLESS)
    assert {"session-hour", "tree-uses"} <= offered(desk, approval)
    assert press(desk, approval, "approve", remember="tree-uses").status_code == 302
    grant = Grant.objects.get()
    assert (grant.scope, grant.uses, grant.approval_id) == ("tree", 10, approval.id)
    assert of(grant) in text_of(desk.get(page_of(approval)))
    later = asked(**HARMLESS)
    shown = text_of(desk.get(page_of(later)))
    assert later.status == "approved"
    assert of(grant) in shown
    assert f"grant {str(grant.id)[:8]} of alice approved it" in shown


def test_an_edit_is_remembered_as_edited(desk: Client, asked: Asked) -> None:
    approval = asked(**HARMLESS)
    form = {"command": "ls", "arguments": '{"folder": "/srv"}', "remember": "session-once"}
    assert press(desk, approval, "edit", **form).status_code == 302
    assert Grant.objects.get().uses == 1
    assert asked(**HARMLESS).status == "pending"
    assert asked(**HARMLESS, arguments={"command": "ls", "folder": "/srv"}).status == "approved"


def test_a_denial_with_a_chosen_grant_is_a_denial(desk: Client, asked: Asked) -> None:
    approval = asked(**HARMLESS)
    assert press(desk, approval, "deny", remember="tree-hour").status_code == 302
    approval.refresh_from_db()
    assert (approval.status, Grant.objects.count()) == ("denied", 0)


def test_only_what_is_allowed_is_offered(desk: Client, asked: Asked) -> None:
    assert offered(desk, asked(risk="critical")) == {"session-once", "session-hour", "session-day"}
    assert not {each for each in offered(desk, asked(**HARMLESS)) if each.startswith("role")}
    assert offered(desk, asked(allowed_decisions=["respond"], question="which?")) == set()
    approval = asked(risk="critical")
    refused = press(desk, approval, "approve", remember="tree-hour")
    assert refused.status_code == 422
    assert '<option value="tree-hour"' not in text_of(refused)
    assert press(desk, approval, "approve", remember="for-ever").status_code == 422
    assert not Grant.objects.exists()


def test_nothing_is_remembered_by_default(desk: Client, asked: Asked) -> None:
    approval = asked(**HARMLESS)
    assert (
        "selected" not in text_of(desk.get(page_of(approval))).partition('name="remember"')[2].partition("</select>")[0]
    )
    press(desk, approval, "approve", remember="")
    assert not Grant.objects.exists()


def test_the_list_shows_counts_and_one_click_revokes(desk: Client, asked: Asked, remembered: Remembered) -> None:
    grant = remembered(uses=3)
    passed = asked(**HARMLESS)
    shown = text_of(desk.get(LIST))
    assert "ls -l · folder: /tmp" in shown
    for word in ("shell", "1 of 3", "alice", str(grant.approval_id)[:8], str(grant.session)[:8], ">live<"):
        assert word in shown
    page = text_of(desk.get(of(grant)))
    assert page_of(passed) in page
    assert "nothing: exactly this action" in page
    assert desk.get(f"{LIST}{grant.id}/revoke/").status_code == 302
    assert Grant.objects.get().ended_at is None
    assert f'formaction="{LIST}{grant.id}/revoke/"' in shown
    answer = desk.post(f"{LIST}{grant.id}/revoke/", {"list": "1"})
    assert (answer.status_code, answer.headers["Location"]) == (302, LIST)
    assert Grant.objects.get().end_reason == "revoked"
    assert ">revoked<" in text_of(desk.get(LIST))
    assert str(grant.id) not in text_of(desk.get(LIST, {"state": "live"}))
    assert f"{LIST}{grant.id}" in text_of(desk.get(LIST, {"state": "revoked"}))


@pytest.mark.parametrize(("who", "sees"), [("viewer", 200), ("stranger", 302)])
def test_others_look_at_most(browser: Browser, remembered: Remembered, request: Any, who: str, sees: int) -> None:
    grant = remembered()
    client = browser(request.getfixturevalue(who))
    page = client.get(of(grant))
    assert page.status_code == sees
    if sees == 200:
        assert "Revoke" not in text_of(page) + text_of(client.get(LIST))
    assert client.post(f"{LIST}{grant.id}/revoke/").status_code == {200: 403, 302: 404}[sees]
    assert Grant.objects.get().ended_at is None


def test_a_person_without_the_right_is_shown_as_such(
    browser: Browser, remembered: Remembered, alice: User, bob: User
) -> None:
    remembered()
    User.objects.filter(pk=alice.pk).update(is_active=False)
    assert "may no longer answer" in text_of(browser(bob).get(LIST))


def test_a_grant_says_its_times_and_its_end_once(desk: Client, remembered: Remembered) -> None:
    grant = remembered()
    assert re.search(
        r'field-bounds.*?readonly">\d{4}-\d\d-\d\d \d\d:\d\d:\d\d UTC<', text_of(desk.get(of(grant))), re.S
    )
    assert "live</span> ends <time" in text_of(desk.get(LIST))
    endings.end_with_session(grant.session)
    assert "session ended</span> <time" in text_of(desk.get(LIST))
