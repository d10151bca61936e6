"""Texts that deceive, on every page of the admin, in a browser: they stay text, are seen, and move nothing."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from django.test import Client
from playwright.sync_api import Page, sync_playwright

from accounts.models import User
from approvals.models import Approval, Grant
from ledger.models import AuditEntry, Delivery, Event, OutboxEntry
from mailbox.models import Message, Quarantined
from orchestration.models import Session
from tests.adminsite.deceiving import RAW, WHOLE, plant_requests
from tests.adminsite.planting import Planted, plant
from tests.e2e.browser import CHROMIUM, PATIENCE_MS, QUEUE, QUIET
from tests.mailbox.faces import Server, serving

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.surface, pytest.mark.timeout(180)]

#: What a page must not have, by name. A planted text would make it.
LOOK = """raw => {
  const found = [], hidden = new RegExp(raw, "u");
  if (window.planted !== undefined) found.push("a script ran");
  const made = "planted, [onclick], [onerror], [onload], [onfocus], img:not([src^='/static/']), iframe";
  for (const each of document.querySelectorAll(made))
    found.push("an element: " + each.outerHTML.slice(0, 120));
  for (const each of document.links)
    if (each.protocol !== "http:") found.push("a link: " + each.href.slice(0, 120));
  const told = text => JSON.stringify(text.slice(0, 200));
  const nodes = document.createTreeWalker(document.documentElement, NodeFilter.SHOW_TEXT);
  while (nodes.nextNode())
    if (hidden.test(nodes.currentNode.data)) found.push("hidden text: " + told(nodes.currentNode.data));
  for (const name of ["title", "alt", "placeholder", "aria-label", "label"])
    for (const each of document.querySelectorAll(`[${name}]`))
      if (hidden.test(each.getAttribute(name))) found.push(`hidden in ${name}: ${told(each.getAttribute(name))}`);
  for (const each of document.querySelectorAll("input:not([type=hidden], [type=radio], [type=checkbox]), textarea"))
    if (hidden.test(each.value)) found.push("hidden in a field: " + each.name);
  return found;
}"""
#: The pixels that a page is wider than its window, and the innermost elements that stick out.
WIDTH = """() => {
  const width = document.documentElement.clientWidth;
  if (document.documentElement.scrollWidth <= width) return [];
  const wide = each => each.getBoundingClientRect().right > width + 1;
  const inner = [...document.querySelectorAll("body *")].filter(each => wide(each) && ![...each.children].some(wide));
  const name = each => `${each.parentElement.className} > ${each.tagName}.${each.className}`;
  return [`${document.documentElement.scrollWidth - width} pixels wider than ${width}: ${inner.slice(0, 3).map(name)}`];
}"""
#: On the page of a row. The page of a request shows the text in full.
SEEN = ("\\u{202e}", "\\u{200b}", "\\u{e0065}")
#: The lists and pages of rows with a text of others. Lists of people, keys and sweeps are drawn alike.
MODELS = (Session, Approval, Grant, Message, Quarantined, Event, AuditEntry, OutboxEntry, Delivery)


@pytest.fixture
def face(broker: object, settings: object) -> Iterator[Server]:
    settings.ALLOWED_HOSTS = ["*"]  # type: ignore[attr-defined]
    with serving() as face:
        yield face


@contextmanager
def browser(port: int, login: str) -> Iterator[Page]:
    """A page with a login. Django refuses every query in this thread while it is open."""
    url = f"http://127.0.0.1:{port}"
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=[*QUIET, "--no-first-run"])
        context = browser.new_context(base_url=url)
        context.add_cookies([{"name": "sessionid", "value": login, "url": url}])
        page = context.new_page()
        page.set_default_timeout(PATIENCE_MS)
        yield page
        browser.close()


def paths(planted: Planted, requests: dict[str, Approval]) -> list[str]:
    """Every page of the admin with a text of others."""
    found = ["/admin/", f"{QUEUE}figures/"]
    for model in MODELS:
        base = f"/admin/{model._meta.app_label}/{model._meta.model_name}"
        found += [f"{base}/", f"{base}/{planted.rows[model].pk}/change/"]
    found.append(f"/admin/orchestration/session/{planted.rows[Session].pk}/history/")
    found += [f"{QUEUE}?set=1&status={status}" for status in ("decided", "all")]
    return found + [f"{QUEUE}{each.pk}/change/" for each in requests.values()]


def test_on_every_page_a_deceptive_text_is_seen_and_stays_text(face: Server) -> None:
    client = Client()
    client.force_login(User.objects.create_superuser("super", password="x"))
    planted = plant("mine", "MINE", WHOLE)
    every = paths(planted, plant_requests(planted))
    wrong: dict[str, list[str]] = {}
    with browser(face.port, client.cookies["sessionid"].value) as page:
        for path in every:
            page.set_viewport_size({"width": 1280, "height": 900})
            answer = page.goto(path)
            assert answer is not None and answer.status == 200, path
            page.evaluate("document.querySelectorAll('details').forEach(each => { each.open = true; })")
            found = [*page.evaluate(LOOK, RAW), *page.evaluate(WIDTH)]
            if path.endswith("/change/") and not all(each in page.inner_text("body") for each in SEEN):
                found.append("the text is not shown by escapes")
            page.set_viewport_size({"width": 390, "height": 900})
            if found := [*found, *page.evaluate(WIDTH)]:
                wrong[path] = found[:4]
        # The control: a page that shows such a text as it is, has each of these.
        page.set_content(f"<title>{WHOLE}</title><pre>{WHOLE}</pre>")
        assert {each.partition(":")[0] for each in page.evaluate(LOOK, RAW)} >= {"an element", "a link", "hidden text"}
    assert not wrong, "\n".join(f"{path}: {found}" for path, found in wrong.items())
