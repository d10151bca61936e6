"""A long action, and a login that expires while somebody is at work on it, in a real browser."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from playwright.sync_api import Page, expect

from tests.e2e.browser import staff
from tests.servers.stack import House
from tests.waiting import wait_until

pytestmark = [pytest.mark.stack, pytest.mark.surface, pytest.mark.timeout(180)]

LONG = "echo begin\n" + "\n".join(f"step {number}" for number in range(200)) + "\nrm -rf /srv"


@pytest.fixture
def house(stack: Callable[..., House]) -> House:
    return stack(worker=False, beat=False)


@pytest.fixture
def page(house: House) -> Iterator[Page]:
    # A refused fragment is written to the console; it is what these tests are about.
    with staff(house.url, house.admin_name, house.admin_password, may_lose_server=True) as page:
        yield page


def ask(house: House, **body: Any) -> str:
    action = {"request_id": str(uuid.uuid4()), "tool_name": "shell", "permission": "run", "resource": "x"}
    with house.client() as client:
        answer = client.post("/api/v1/approvals", json=action | body)
    assert answer.status_code == 202, answer.text
    return str(answer.json()["id"])


def open_page(page: Page, approval: str) -> None:
    page.goto(f"/admin/approvals/approval/{approval}/change/")
    expect(page.locator("[data-live-state=live]")).to_be_visible()


def status_of(house: House, approval: str) -> str:
    with house.client() as client:
        return str(client.get(f"/api/v1/approvals/{approval}").json()["status"])


def sign_out(page: Page) -> None:
    page.context.clear_cookies(name="sessionid")


def sign_in(page: Page, house: House) -> None:
    page.fill("#id_username", house.admin_name)
    page.fill("#id_password", house.admin_password)
    page.click("input[type=submit]")


def test_what_is_long_is_approved_once_its_end_was_on_the_screen(house: House, page: Page) -> None:
    approval = ask(house, arguments={"command": LONG})
    open_page(page, approval)
    box = page.locator("[data-seen]").first
    expect(box).not_to_be_checked()
    page.get_by_role("button", name="Approve exactly this").click()
    assert status_of(house, approval) == "pending"
    page.locator("[data-end-of-action]").scroll_into_view_if_needed()
    expect(box).to_be_checked()
    page.get_by_role("button", name="Approve exactly this").click()
    expect(page.locator(".messagelist")).to_contain_text("You approved it")
    assert status_of(house, approval) == "approved"


def test_what_is_short_needs_no_tick(house: House, page: Page) -> None:
    approval = ask(house, arguments={"command": "ls"})
    open_page(page, approval)
    expect(page.locator("[data-seen]")).to_have_count(0)
    page.get_by_role("button", name="Approve exactly this").click()
    expect(page.locator(".messagelist")).to_contain_text("You approved it")


def test_a_press_after_the_login_expired_decides_nothing_and_loses_no_word(house: House, page: Page) -> None:
    approval = ask(house, arguments={"command": "ls"})
    open_page(page, approval)
    page.fill("#ap-message", "not on a Friday")
    # The words of a step that was taken are no draft any more. All others are.
    page.get_by_text("Ask back, put off or hand over").click()
    page.fill("#ap-question", "why today?")
    page.get_by_role("button", name="Ask back").click()
    expect(page.locator(".messagelist")).to_contain_text("The agent was asked")
    expect(page.locator("#ap-question")).to_have_value("")
    expect(page.locator("#ap-message")).to_have_value("not on a Friday")
    sign_out(page)
    page.get_by_role("button", name="Deny").click()
    sign_in(page, house)
    expect(page.locator(".messagelist")).to_contain_text("Nothing was decided")
    expect(page.locator("#ap-message")).to_have_value("not on a Friday")
    assert status_of(house, approval) == "pending"
    page.get_by_role("button", name="Deny").click()
    expect(page.locator(".messagelist")).to_contain_text("You denied it")
    # The script of the page runs after its text is there.
    wait_until(lambda: page.evaluate("sessionStorage.length") == 0)


def test_a_login_that_expires_while_an_edit_is_typed_leaves_it(house: House, page: Page) -> None:
    approval = ask(house, arguments={"command": "ls"})
    open_page(page, approval)
    page.get_by_text("Edit, then approve").click()
    page.fill("#ap-command", "ls -l /srv")
    sign_out(page)
    with house.client() as client:  # Something moves, so the page looks again.
        client.post(f"/api/v1/approvals/{approval}/decide", json={"decision": "nonsense"})
    page.evaluate("document.dispatchEvent(new Event('visibilitychange'))")
    notice = page.locator("[data-signed-out]")
    expect(notice).to_contain_text("You are signed out. What you typed is still here.")
    expect(page.locator("#ap-command")).to_have_value("ls -l /srv")
    with page.context.expect_page() as opened:
        notice.get_by_role("link").click()
    sign_in(opened.value, house)
    opened.value.wait_for_url("**/admin/")
    expect(notice).to_have_count(0)
    page.get_by_role("button", name="Approve what is written here").click()
    expect(page.locator(".messagelist")).to_contain_text("You edited and approved it")


def test_a_long_action_fits_a_phone(house: House, page: Page) -> None:
    hidden = "echo hello" + "\n" * 3000 + "rm -rf /" + " " * 20_000 + "x"
    approval = ask(house, arguments={"command": hidden, "command ": "no", "json": {"a": ["b" * 300]}})
    for width in (1280, 390):
        page.set_viewport_size({"width": width, "height": 900})
        open_page(page, approval)
        over = page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")
        assert over <= 0, width
        expect(page.locator(".wr-gap", has_text="2,999 empty lines").first).to_be_visible()
        expect(page.locator(".wr-gap", has_text="20,000 spaces").first).to_be_visible()
