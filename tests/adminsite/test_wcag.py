"""Pages of the admin keep the rules of WCAG 2.2 AA that axe can check, in light and in dark, wide and narrow."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Page

from tests.e2e.browser import QUEUE, staff
from tests.servers.stack import House

pytestmark = [pytest.mark.stack, pytest.mark.surface, pytest.mark.timeout(180)]

TAGS = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa"]
EVERY_RULE: dict[str, Any] = {
    "runOnly": {"type": "tag", "values": TAGS},
    "rules": {"target-size": {"enabled": True}},
    "resultTypes": ["violations"],
}
#: Lists that are drawn as the list of messages is: once is enough.
DRAWN_ALIKE = ("/rule/", "/quarantined/", "/auditentry/", "/webhook/", "/delivery/", "/plan/")
#: The rules that depend on colours and widths. The markup of a page is the same in dark and on a phone.
DRAWN = {"runOnly": ["color-contrast", "link-in-text-block", "scrollable-region-focusable", "target-size"]}

# One of each row that a page shows, and requests that answer each other's cards: joined, risky, and settled.
PLANT = """
import json
from accounts.actors import Actor
from approvals import decisions, requests
from approvals.canonical_action import Ask
from approvals.models import Approval
from tests.adminsite.planting import plant
from tests.people import owner
planted = plant("planted", "PLANTED")
rows, by = {model.__name__: str(row.pk) for model, row in planted.rows.items()}, owner("asker")
def ask(name, **said):
    ask = Ask(session=None, attempt=None, request_id=name, tool_name="shell", permission="execute", resource="host",
              arguments={"command": "make"} | said.pop("arguments", {}), **said)
    return requests.ask(planted.project.pk, ask, actor=Actor.of_user(by), via="rest")[0]
for number in range(3):
    ask(f"joined-{number}")
ask("risky", risk="critical", arguments={"env": {"A": [1, 2]}})
edited = ask("settled", arguments={"deep": {"changed": 1, "same": 2}})
edit = {"command": "make", "deep": {"changed": 3, "same": 2}}
decisions.decide(planted.project.pk, edited.pk, decisions.Answer(
    decision="edit", digest=edited.digest, arguments=edit), Actor.of_user(owner("decider")), "admin")
rows["Settled"] = str(edited.pk)
print("ROWS", json.dumps(rows))
"""

#: The lists that show less than their width, and the header's links when they need two lines.
CUT_OFF = """() => [
  ...[...document.querySelectorAll("#content .results")].filter((each) => each.scrollWidth > each.clientWidth + 1),
  ...[...document.querySelectorAll("#user-tools")].filter((each) => each.offsetHeight > 50),
].map((each) => `${each.id || each.className} ${each.scrollWidth} of ${each.clientWidth}, ${each.offsetHeight} high`)"""
FAULTS = """() => {
  document.documentElement.removeAttribute("lang");
  const pale = document.createElement("p");
  pale.append("pale words", document.createElement("img"));
  pale.style.color = "#999";
  pale.style.background = "#fff";
  document.querySelector("#content").append(pale);
}"""


def faults(page: Page, rules: dict[str, Any] = EVERY_RULE) -> list[str]:
    """Return what axe finds on the page as it is shown now: the rule, and the first elements that break it."""
    found = Axe().run(page, options=rules).response["violations"]
    shown = [f"{each['id']}: {node['target']} {node['failureSummary']}" for each in found for node in each["nodes"][:3]]
    return [line.replace("\n", " ") for line in shown]


def opened(page: Page) -> None:
    """Open everything that is folded, as a reader does."""
    page.evaluate("document.querySelectorAll('#content details').forEach(each => { each.open = true; })")


def paths(rows: dict[str, Any]) -> list[str]:
    approvals, ledger, mailbox = "/admin/approvals", "/admin/ledger", "/admin/mailbox"
    return [
        "/admin/",
        f"{QUEUE}?set=1&tool=nothing",
        f"{QUEUE}?set=1",
        f"{QUEUE}?status=decided",
        f"{QUEUE}{rows['Approval']}/change/",
        f"{QUEUE}{rows['Settled']}/change/",
        f"{QUEUE}figures/",
        f"{QUEUE}notifications/",
        f"{approvals}/rule/",
        f"{approvals}/rule/{rows['Rule']}/change/",
        f"{approvals}/reviewer/add/",
        f"{approvals}/grant/",
        f"{approvals}/grant/{rows['Grant']}/change/",
        "/admin/orchestration/session/",
        f"/admin/orchestration/session/{rows['Session']}/change/",
        f"{mailbox}/message/",
        f"{mailbox}/quarantined/",
        f"{ledger}/auditentry/",
        f"{approvals}/plan/",
        f"{ledger}/webhook/",
        f"{ledger}/webhook/{rows['Webhook']}/change/",
        f"{ledger}/delivery/",
    ]


def test_pages_keep_wcag_2_2_aa(stack: Callable[..., House]) -> None:
    house = stack(web=1, worker=False, beat=False)
    rows = json.loads(house.manage("shell", "-c", PLANT).split("ROWS ", 1)[1].splitlines()[0])
    found: dict[str, list[str]] = {}
    with staff(house.url, house.admin_name, house.admin_password) as first:
        browser = first.context.browser
        assert browser is not None
        # axe tries styles in the page, and the policy of the pages allows none.
        context = browser.new_context(
            base_url=house.url, bypass_csp=True, reduced_motion="reduce", storage_state=first.context.storage_state()
        )
        page = context.new_page()
        for width, scheme, rules in ((1280, "light", EVERY_RULE), (390, "dark", DRAWN)):
            page.set_viewport_size({"width": width, "height": 844})
            page.emulate_media(color_scheme=scheme)
            for path in paths(rows):
                if rules is DRAWN and path.endswith(DRAWN_ALIKE):
                    continue
                assert page.goto(path).status == 200, path
                opened(page)
                cut = page.evaluate(CUT_OFF)
                if told := faults(page, rules) + [f"cut off: {each}" for each in cut]:
                    found[f"{path} {width} {scheme}"] = told
            stranger = browser.new_page(base_url=house.url, bypass_csp=True, color_scheme=scheme)
            stranger.set_viewport_size({"width": width, "height": 844})
            stranger.goto("/admin/login/")
            if told := faults(stranger, rules):
                found[f"login {width} {scheme}"] = told
        # The control: what axe has to find, it finds here.
        page.evaluate(FAULTS)
        control = " ".join(faults(page))
        assert all(rule in control for rule in ("image-alt", "color-contrast", "html-has-lang")), control
        assert found == {}, json.dumps(found, indent=1)
