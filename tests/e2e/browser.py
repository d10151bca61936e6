"""Staff at work: Debian's Chromium, signed in to the admin of one web process."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from playwright.sync_api import Page, expect, sync_playwright

CHROMIUM = "/usr/bin/chromium"
QUIET = ("--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-component-update")
QUEUE = "/admin/approvals/approval/"
# Playwright's own five seconds are little for a page on a machine that is busy with other tests.
PATIENCE_MS = 20_000
expect.set_options(timeout=PATIENCE_MS)


@contextmanager
def staff(url: str, name: str, password: str, *, may_lose_server: bool = False) -> Iterator[Page]:
    """A page on the queue. Console errors fail the test at the end: a strict CSP breaks things silently.

    `may_lose_server`: the test stops the server, so a refused connection is no error.
    """
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=[*QUIET, "--no-first-run"])
        page = browser.new_page(base_url=url)
        complaints: list[str] = []
        page.on("console", lambda said: complaints.append(said.text) if said.type == "error" else None)
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.set_default_timeout(PATIENCE_MS)
        page.goto(QUEUE)
        page.fill("#id_username", name)
        page.fill("#id_password", password)
        page.click("input[type=submit]")
        page.wait_for_url(f"**{QUEUE}*")
        try:
            yield page
        finally:
            browser.close()
        complaints = [said for said in complaints if not (may_lose_server and "net::ERR" in said)]
        assert not complaints, complaints


def another_page(page: Page, url: str, login: str = "") -> Page:
    """A page on the queue in a browser of its own, signed in as the same person, or as the one of this login."""
    browser = page.context.browser
    assert browser is not None
    context = browser.new_context(base_url=url)
    cookies = [{"name": each["name"], "value": each["value"], "url": url} for each in page.context.cookies()]
    context.add_cookies([{"name": "sessionid", "value": login, "url": url}] if login else cookies)
    other = context.new_page()
    other.set_default_timeout(PATIENCE_MS)
    other.goto(QUEUE)
    return other


def open_request(page: Page, text: str) -> None:
    """Wait on the queue, without reloading, until the request is there; then open its page."""
    page.goto(QUEUE)
    row = page.locator("tr", has_text=text)
    row.wait_for()
    row.get_by_role("link").first.click()
    page.get_by_role("heading", name="What would run").wait_for()


def press(page: Page, button: str) -> None:
    """Press a button, and wait for the page with the result."""
    with page.expect_navigation():
        page.get_by_role("button", name=button, exact=True).click()
