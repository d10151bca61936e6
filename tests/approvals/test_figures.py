"""The figures of the approvals: each number is that of its tab, and a window counts only its own time."""

from __future__ import annotations

import re
from datetime import timedelta

import pytest
from django.test import Client

from accounts.actors import Actor
from accounts.models import Project, User
from approvals import decisions
from approvals.adminsite import figures
from approvals.decision_validation import Answer
from approvals.models import Approval
from tests.approvals.admin_page import text_of
from tests.approvals.conftest import Asked, Browser

pytestmark = pytest.mark.django_db

FIGURES = "/admin/approvals/approval/figures/"


def figure(text: str, name: str) -> str:
    found = re.search(rf'data-figure="{name}">([^<]*)<', text)
    assert found, name
    return found[1]


def test_they_count_what_is_there(desk: Client, asked: Asked, approved: Asked, project: Project, bob: User) -> None:
    asked(), approved(tool_name="<b>tool</b>")
    denied, expired, old = asked(), asked(expires_in_secs=1), approved(tool_name="of long ago")
    decisions.decide(project.pk, denied.id, Answer(decision="deny"), Actor.of_user(bob), "rest")
    rows = Approval.objects
    rows.filter(pk=denied.pk).update(requested_at=denied.requested_at - timedelta(minutes=10))
    rows.filter(pk=expired.pk).update(expires_at=expired.requested_at)
    decisions.expire_due()
    rows.filter(pk=old.pk).update(settled_at=old.requested_at - timedelta(days=3))
    text = text_of(desk.get(FIGURES))
    assert [figure(text, name) for name in ("pending", "expired", "unconsumed", "never-run")] == ["1", "1", "2", "0"]
    assert "of 2 by people" in text
    assert "bob" in text
    assert "&lt;b&gt;tool" in text
    assert "of long ago" not in text
    assert "of long ago" in text_of(desk.get(FIGURES, {"window": "week"}))
    assert "of 3 by people" in text_of(desk.get(f"{FIGURES}part/", {"window": "week"}))


def test_another_project_and_a_strange_window(desk: Client, browser: Browser, stranger: User, approved: Asked) -> None:
    approved(tool_name="private-tool")
    assert "private-tool" in text_of(desk.get(FIGURES, {"window": "nonsense"}))
    assert "private-tool" not in text_of(browser(stranger).get(FIGURES))


def test_a_window_with_more_than_is_read_says_so(
    desk: Client, approved: Asked, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(figures, "MOST_READ", 1)
    approved()
    assert "count the newest 1." in text_of(desk.get(FIGURES))
