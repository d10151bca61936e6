"""Staff's pages in a real browser: they change by themselves, fit a phone, and need no script to answer."""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import httpx
import pytest
from playwright.sync_api import expect

from tests.e2e.browser import QUEUE, another_page, press, staff
from tests.servers.stack import House

pytestmark = [pytest.mark.stack, pytest.mark.surface, pytest.mark.timeout(300)]

# The pages look by themselves every 15 s: what comes sooner came by the live feed. On an idle machine it takes
# some 0.2 s; the bound leaves room for a machine that is busy with other tests.
PROMPT_MS = 5_000


def ask(client: httpx.Client, **said: Any) -> Any:
    body = {
        "request_id": f"r-{time.monotonic_ns()}",
        "tool_name": "shell",
        "permission": "execute",
        "resource": "echo live",
        "arguments": {"command": "echo live", "folder": "/tmp"},
    }
    return client.post("/api/v1/approvals", json=body | said).raise_for_status().json()


@pytest.fixture
def house(stack: Callable[..., House], backend: str) -> Any:
    return stack(web=1 if backend == "sqlite" else 2, worker=False, beat=False)


def test_what_happens_elsewhere_shows_without_a_reload(house: Any) -> None:
    client = house.client()
    with staff(house.urls[-1], house.admin_name, house.admin_password) as page:
        expect(page.get_by_text("updates by itself")).to_be_visible()
        page.evaluate("window.never_reloaded = true")
        approval = ask(client)
        row = page.locator(f'[data-live-row="{approval["id"]}"]')
        expect(row).to_be_visible(timeout=PROMPT_MS)
        expect(page).to_have_title(counted(1), timeout=PROMPT_MS)

        decide(client, ask(client, request_id="other"), "deny")
        expect(page.locator("[data-live-row]")).to_have_count(1, timeout=PROMPT_MS)
        assert page.evaluate("window.never_reloaded")

        row.get_by_role("link").first.click()
        expect(page.get_by_role("button", name="Approve exactly this")).to_be_visible()
        page.fill("#ap-message", "half a sentence")
        expect(page.get_by_text("updates by itself")).to_be_visible()
        decide(client, approval, "deny")
        expect(page.get_by_text("denied it at")).to_be_visible(timeout=PROMPT_MS)
        expect(page.get_by_role("button", name="Approve exactly this")).to_be_hidden()

        # A browser with a wrong clock counts down to the same moment.
        late = ask(client, request_id="late", expires_in_secs=3600)
        wrong = another_page(page, house.urls[-1])
        wrong.clock.set_fixed_time(datetime(2001, 1, 1, tzinfo=UTC))
        wrong.goto(QUEUE)
        assert wrong.evaluate("new Date().getFullYear()") == 2001
        countdown = wrong.locator(f'[data-live-row="{late["id"]}"] time[data-until]')
        expect(countdown).to_have_text(re.compile(r"^in 59 min \d+ s$"))
        told = countdown.text_content() or ""
        expect(countdown).not_to_have_text(told)


def counted(count: Any) -> Any:
    return re.compile(rf"^\({count}\) ")


def decide(client: httpx.Client, approval: Any, decision: Any) -> None:
    body = {"decision": decision, "digest": approval["digest"]}
    client.post(f"/api/v1/approvals/{approval['id']}/decide", json=body).raise_for_status()


def test_a_phone_shows_all_of_it_without_sideways_scrolling(house: Any) -> None:
    client = house.client()
    long = "--with-a-very-long-option=" + "x" * 300
    approval = ask(
        client, arguments={"command": f"run {long}"}, resource="y" * 300, question="z" * 300, risk="critical"
    )
    with staff(house.urls[-1], house.admin_name, house.admin_password) as page:
        page.set_viewport_size({"width": 390, "height": 844})
        for address in (QUEUE, f"{QUEUE}?status=decided", f"{QUEUE}{approval['id']}/change/"):
            page.goto(address)
            assert page.evaluate("document.documentElement.scrollWidth") <= 390
        assert page.evaluate("document.activeElement.tagName") == "BODY"
        assert long in page.locator(".ap-command").inner_text()
        press(page, "Approve exactly this")
        expect(page.get_by_text("approved it at")).to_be_visible()


def test_answering_needs_no_script(house: Any) -> None:
    client = house.client()
    approval = ask(client)
    with staff(house.urls[-1], house.admin_name, house.admin_password) as page:
        context = page.context.browser.new_context(java_script_enabled=False, base_url=house.urls[-1])
        context.add_cookies(page.context.cookies())
        plain = context.new_page()
        plain.goto(QUEUE)
        plain.locator(".ap-what a").first.click()
        plain.locator("summary", has_text="Edit, then approve").click()
        plain.fill("#ap-command", "echo edited")
        press(plain, "Approve what is written here")
        expect(plain.get_by_text("Approved to run instead")).to_be_visible()
    shown = client.get(f"/api/v1/approvals/{approval['id']}").json()
    assert shown["arguments"] == {"command": "echo edited", "folder": "/tmp"}
