"""The plan on the page of its request."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from django.test import Client

from accounts.models import User
from approvals.models import Approval, Plan
from tests.approvals.admin_page import page_of, press, text_of
from tests.approvals.conftest import Asked, Browser
from tests.approvals.grants.conftest import HARMLESS, Remembered
from tests.approvals.plans.conftest import LIST, MILD, WRITE, Planned

pytestmark = pytest.mark.django_db
PLANS = "/admin/approvals/plan/"


def test_a_plan_is_a_table_before_and_after_its_approval(
    desk: Client, asked: Asked, asked_plan: Callable[..., Approval]
) -> None:
    plan = asked_plan({**WRITE, "count": 3}, LIST, ordered=True)
    shown = text_of(desk.get(page_of(plan)))
    for word in ("In this order.", "src/*.py", "(a pattern)", "path within", "mode: 420", "ls -l"):
        assert word in shown
    assert press(desk, plan, "approve", seen=plan.digest).status_code == 302
    call: dict[str, Any] = {"tool_name": "write", "permission": "write", "resource": "src/a.py", **MILD}
    passed = asked(**call, arguments={"path": "src/a.py", "mode": 420})
    shown = text_of(desk.get(page_of(plan)))
    assert "1 of 3" in shown
    assert "0 of 1" in shown
    assert "Not run yet" not in shown
    assert page_of(plan) in text_of(desk.get(page_of(passed)))
    assert f"the plan {str(plan.id)[:8]} of alice approved it" in text_of(desk.get(page_of(passed)))


def test_a_plan_is_edited_on_the_page(desk: Client, asked_plan: Callable[..., Approval]) -> None:
    plan = asked_plan(WRITE, LIST)
    refused = press(desk, plan, "edit", seen=plan.digest, arguments='{"steps": [{"tool_name": "x"}]}')
    assert refused.status_code == 422
    wider = '{"steps": [{"tool_name": "rm", "permission": "p", "resource": "/"}]}'
    assert "is wider than any step" in text_of(press(desk, plan, "edit", seen=plan.digest, arguments=wider))
    narrower = (
        '{"steps": [{"tool_name": "shell", "permission": "execute", "resource": "ls -l", "risk": "low",'
        ' "reversibility": "reversible", "arguments": {"command": "ls -l", "folder": "/tmp"}}]}'
    )
    assert press(desk, plan, "edit", seen=plan.digest, arguments=narrower).status_code == 302
    assert Plan.objects.get(id=plan.id).steps.count() == 1


def test_one_click_revokes_a_plan(desk: Client, planned: Planned, browser: Browser, viewer: User) -> None:
    plan = planned()
    page = page_of(plan.approval)
    address = f"/admin/approvals/approval/{plan.id}/plan/"
    assert address in text_of(desk.get(page))
    assert address not in text_of(browser(viewer).get(page))
    assert browser(viewer).post(address).status_code == 403
    assert desk.get(address).status_code == 302
    assert Plan.objects.get().ended_at is None
    assert desk.post(address).status_code == 302
    assert Plan.objects.get().end_reason == "revoked"
    shown = text_of(desk.get(page))
    assert ">revoked<" in shown
    assert address not in shown


def test_the_list_of_plans_shows_what_is_left_and_revokes(
    desk: Client, planned: Planned, browser: Browser, viewer: User, stranger: User
) -> None:
    plan = planned({**WRITE, "count": 3}, LIST, ordered=True)
    shown = text_of(desk.get(PLANS))
    for word in ("2 steps, in order", "write, shell", "0 of 4", "alice", ">live<", page_of(plan.approval)):
        assert word in shown, word
    assert f'formaction="/admin/approvals/approval/{plan.id}/plan/"' in shown
    seen = text_of(browser(viewer).get(PLANS))
    assert page_of(plan.approval) in seen and "Revoke" not in seen
    assert page_of(plan.approval) not in text_of(browser(stranger).get(PLANS))
    assert browser(stranger).get(f"{PLANS}{plan.id}/change/").status_code == 302
    desk.post(f"/admin/approvals/approval/{plan.id}/plan/")
    assert ">revoked<" in text_of(desk.get(PLANS, {"state": "revoked"}))
    assert page_of(plan.approval) not in text_of(desk.get(PLANS, {"state": "live"}))


def test_figures_name_grants_and_plans_by_what_they_cover(
    desk: Client, asked: Asked, remembered: Remembered, planned: Planned
) -> None:
    plan, grant = planned(WRITE), remembered()
    call: dict[str, Any] = {"tool_name": "write", "permission": "write", "resource": "src/a.py", **MILD}
    assert asked(**call, arguments={"path": "src/a.py", "mode": 420}).rule == plan.rule
    assert asked(**HARMLESS).rule == grant.rule
    text = text_of(desk.get("/admin/approvals/approval/figures/"))
    assert f"the grant {str(grant.id)[:8]}: shell ls -l" in text
    assert f"the plan {str(plan.id)[:8]}: write" in text
    assert str(grant.id) not in text
