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
from tests.approvals.plans.conftest import LIST, MILD, WRITE, Planned

pytestmark = pytest.mark.django_db


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
