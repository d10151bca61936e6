"""The admin in a real browser: it updates by itself within a second, and the strict policy breaks none of it."""

from __future__ import annotations

import re
import time
import uuid
from collections.abc import Callable, Iterator
from typing import Any

import httpx
import pytest
from playwright.sync_api import Page, expect

from tests.e2e.browser import staff
from tests.servers.stack import House

Stack = Callable[..., House]
pytestmark = [pytest.mark.stack, pytest.mark.surface, pytest.mark.timeout(180)]

LISTS = (
    "orchestration/session",
    "approvals/approval",
    "mailbox/message",
    "mailbox/quarantined",
    "ledger/event",
    "ledger/auditentry",
    "ledger/outboxentry",
    "ledger/sweep",
    "accounts/credential",
    "accounts/project",
    "accounts/user",
    "auth/group",
)


@pytest.fixture
def house(stack: Stack) -> House:
    return stack(web=2, worker=False, beat=False)


@pytest.fixture
def page(house: House) -> Iterator[Page]:
    with staff(house.url, house.admin_name, house.admin_password) as page:
        yield page


def elsewhere(house: House) -> httpx.Client:
    """REST at the other web process than the one that the page talks to."""
    return house.client(2)


def ask(client: httpx.Client) -> None:
    body: dict[str, Any] = {"request_id": str(uuid.uuid4()), "tool_name": "shell", "permission": "run"}
    answer = client.post("/api/v1/approvals", json={**body, "resource": "make coffee"})
    assert answer.status_code == 202, answer.text


def spawn(client: httpx.Client, title: str) -> str:
    answer = client.post("/api/v1/sessions", json={"assignment": "wait", "runner": "external", "title": title})
    assert answer.status_code == 201, answer.text
    return str(answer.json()["id"])


def live(page: Page, path: str) -> None:
    """Open a page, and wait until it listens."""
    page.goto(path)
    expect(page.locator("[data-live-state=live]")).to_be_visible()


def within_a_second(happen: Callable[[int], None], seen: Callable[[int], None]) -> int:
    """Change things until one is seen within a second, and say how many: a busy machine may be late, not always."""
    for number in range(1, 11):
        happen(number)
        began = time.monotonic()
        seen(number)
        if time.monotonic() - began < 1:
            return number
    raise AssertionError("none of ten changes was seen within a second")


def test_pages_show_within_a_second_what_happened_at_another_web_process(house: House, page: Page) -> None:
    with elsewhere(house) as client:
        live(page, "/admin/")
        count = page.locator(".wr-card", has_text="waiting for an answer").locator(".wr-number")
        asked = within_a_second(lambda _: ask(client), lambda number: expect(count).to_have_text(str(number)))
        expect(page).to_have_title(re.compile(rf"^\({asked}\) "))
        live(page, "/admin/orchestration/session/")
        rows = page.locator("#result_list")
        within_a_second(
            lambda number: spawn(client, f"session {number}") and None,
            lambda number: expect(rows.get_by_role("link", name=f"session {number}", exact=True)).to_be_visible(),
        )


def test_a_session_is_steered_by_two_buttons_and_its_page_follows(house: House, page: Page) -> None:
    with elsewhere(house) as client:
        session, other = spawn(client, "told and cancelled here"), spawn(client, "cancelled by REST")
        live(page, f"/admin/orchestration/session/{session}/change/")
        page.get_by_text("Send it a message").click()
        page.fill("#id_text", "look at the logs first")
        page.get_by_role("button", name="Send").click()
        expect(page.locator(".messagelist")).to_contain_text("it waits in the mailbox")
        expect(page.locator("main")).to_contain_text("look at the logs first")
        page.get_by_text("Cancel it", exact=True).click()
        page.fill("#id_reason", "wrong branch")
        page.get_by_role("button", name="Cancel this session").click()
        expect(page.locator(".messagelist")).to_contain_text("It is cancelled.")
        found = client.get(f"/api/v1/sessions/{session}").json()
        assert (found["status"], found["cancel_reason"]) == ("cancelled", "wrong branch")
        expect(page.get_by_role("button", name="Cancel this session")).to_have_count(0)
        live(page, f"/admin/orchestration/session/{other}/change/")
        state = page.locator(".wr-badge").first
        expect(state).to_have_text("starting")
        client.post(f"/api/v1/sessions/{other}/cancel", json={"reason": "by REST"})
        expect(state).to_have_text("cancelled")


def test_a_page_comes_back_by_itself_after_its_web_process_was_killed(house: House) -> None:
    signed_in = staff(house.url, house.admin_name, house.admin_password, may_lose_server=True)
    with elsewhere(house) as client, signed_in as page:
        live(page, "/admin/")
        house.kill("web1")
        expect(page.locator("[data-live-state=waiting]")).to_be_visible()
        ask(client)
        house.start("web1")
        count = page.locator(".wr-card", has_text="waiting for an answer").locator(".wr-number")
        expect(count).to_have_text("1")


def test_a_key_is_shown_once_works_and_can_be_ended(house: House, page: Page) -> None:
    page.goto("/admin/accounts/credential/mint/")
    page.fill("#id_name", "from the browser")
    page.select_option("#id_project", label="default")
    page.get_by_label("feed:read").check()
    page.locator(".datetimeshortcuts a").first.click()
    page.fill("#id_expires_at_0", "2099-01-01")
    page.fill("#id_expires_at_1", "00:00:00")
    page.get_by_role("button", name="Mint the key").click()
    token = page.locator("#token").inner_text()
    assert token.startswith("wr_key_")
    with house.client(key=token) as client:
        assert client.get("/api/v1/feed").status_code == 200
        assert client.get("/api/v1/sessions").status_code == 403
        page.goto("/admin/accounts/credential/?q=from+the+browser")
        assert token not in page.content()
        page.get_by_role("link", name="from the browser").click()
        assert token not in page.content()
        page.get_by_role("button", name="End this key").click()
        expect(page.locator(".messagelist")).to_contain_text("The key has ended")
        assert client.get("/api/v1/feed").status_code == 401


def test_a_phone_has_a_way_to_every_page(page: Page) -> None:
    page.set_viewport_size({"width": 390, "height": 900})
    for name in LISTS:
        page.goto("/admin/")
        link = page.locator(f'.wr-menu a[href="/admin/{name}/"]')
        expect(link).to_be_hidden()
        page.get_by_text("Menu", exact=True).click()
        expect(link).to_be_visible()
        link.click()
        page.wait_for_url(f"**/admin/{name}/")
        expect(page.locator(".wr-menu a[aria-current=page]")).to_have_attribute("href", f"/admin/{name}/")
    page.set_viewport_size({"width": 1280, "height": 900})
    expect(page.get_by_text("Menu", exact=True)).to_be_hidden()


def test_a_link_that_is_a_button_reads_like_one(page: Page) -> None:
    page.set_content(
        page.content().replace("</h1>", '</h1><a class="wr-button" href="/x">a</a><button class="wr-button">b</button>')
    )
    for made in ("h1 + a.wr-button", "h1 + a + button.wr-button"):
        colours = page.locator(made).evaluate("e => [getComputedStyle(e).color, getComputedStyle(e).backgroundColor]")
        assert colours == ["rgb(255, 255, 255)", "rgb(47, 93, 120)"], made


def test_no_page_is_wider_than_its_window_or_breaks_the_policy(house: House, page: Page) -> None:
    with elsewhere(house) as client:
        session = spawn(client, "a-title-without-any-space-in-it-" * 8)
        ask(client)
    paths = ["/admin/", f"/admin/orchestration/session/{session}/change/", "/admin/accounts/credential/mint/"]
    paths += ["/admin/accounts/user/add/", "/admin/accounts/project/add/", "/admin/password_change/"]
    for width, scheme in ((1280, "light"), (390, "dark")):
        page.set_viewport_size({"width": width, "height": 900})
        page.emulate_media(color_scheme=scheme)
        for path in paths + [f"/admin/{name}/" for name in LISTS]:
            page.goto(path)
            over = page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")
            assert over <= 0, (path, width)
