"""The queue in a real browser: answered by keyboard alone, safe against a held key, and the same on every open tab."""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from typing import Any

import httpx
import pytest
from playwright.sync_api import Page, expect

from approvals.adminsite import queue
from tests.e2e.browser import QUEUE, another_page, staff
from tests.servers.stack import House
from tests.waiting import wait_until

pytestmark = [pytest.mark.stack, pytest.mark.surface, pytest.mark.timeout(600)]

SHORT, LONG = 20, 200
SECOND_PERSON = """
from django.test import Client
from accounts.models import User
client = Client()
client.force_login(User.objects.create(username="second", is_staff=True, is_superuser=True))
print("LOGIN", client.cookies["sessionid"].value)
"""


@pytest.fixture
def house(stack: Callable[..., House], backend: str) -> House:
    return stack(web=1 if backend == "sqlite" else 2, worker=False, beat=False)


def ask(client: httpx.Client, number: int, **said: Any) -> dict[str, Any]:
    body = {
        "request_id": f"r-{number}-{time.monotonic_ns()}",
        "tool_name": "shell",
        "permission": "execute",
        "resource": f"echo {number}",
        "arguments": {"command": f"echo {number}"},
    }
    found: dict[str, Any] = client.post("/api/v1/approvals", json=body | said).raise_for_status().json()
    return found


def state(client: httpx.Client, approval: dict[str, Any]) -> str:
    return str(client.get(f"/api/v1/approvals/{approval['id']}").json()["status"])


def cards(page: Page) -> list[str]:
    found: list[str] = page.evaluate("[...document.querySelectorAll('tr[data-card]')].map(row => row.dataset.liveRow)")
    return found


def expect_tour(house: House, number: int, *, width: int) -> None:
    """Answer `number` requests by keyboard only: approve most, deny some, open what is risky, one after the other."""
    client = house.client()
    asked = [ask(client, each, risk="high" if each % 7 == 3 else "medium") for each in range(number)]
    with staff(house.urls[-1], house.admin_name, house.admin_password) as page:
        page.set_viewport_size({"width": width, "height": 844})
        page.goto(QUEUE)
        expect(page.locator("[data-live-state=live]")).to_be_visible()
        assert page.evaluate("document.activeElement.tagName") == "BODY"
        for at, approval in enumerate(asked):
            here = page.locator(f'tr[data-live-row="{approval["id"]}"]')
            expect(here).to_be_visible()
            if at == 0:
                page.keyboard.press("j")
            expect(here).to_have_class("ap-cursor")
            wanted = "denied" if at % 5 == 1 else "approved"
            answer_here(page, client, approval, wanted)
            if page.url.rstrip("/").endswith("change"):
                expect(page.get_by_text(f"{wanted} it at")).to_be_visible()
                page.keyboard.press("u")
                page.wait_for_url(f"**{QUEUE}*")
                expect(page.locator("[data-live-state=live]")).to_be_visible()
                page.keyboard.press("j")
            else:
                expect(here).to_have_count(0)
        expect(page.locator(".ap-nothing")).to_be_visible()
        assert page.evaluate("document.documentElement.scrollWidth") <= width
    found = client.get("/api/v1/approvals/count").json()
    assert (found["pending"], found["approved"] + found["denied"]) == (0, number)
    for at, approval in enumerate(asked[:SHORT]):
        assert state(client, approval) == ("denied" if at % 5 == 1 else "approved"), at


def answer_here(page: Page, client: httpx.Client, approval: dict[str, Any], wanted: str) -> None:
    """Press the key until the card takes it: in its first half second under the cursor it takes none."""
    key = "d" if wanted == "denied" else "a"
    row = page.locator(f'tr[data-live-row="{approval["id"]}"]')

    def is_taken() -> bool:
        # A card that the page draws again has no mark. Without this look the key could be one too many, for the next.
        if state(client, approval) != "pending":
            return True
        page.keyboard.press(key)
        return "change" in page.url or row.count() == 0 or "ap-sent" in (row.get_attribute("class") or "")

    wait_until(is_taken)
    if approval["risk"] == "high" and wanted == "approved":
        page.wait_for_url("**/change/")

        def is_answered() -> bool:
            page.keyboard.press(key)
            return page.get_by_text("approved it at").count() > 0

        wait_until(is_answered)


def test_a_day_at_the_keyboard(house: House) -> None:
    expect_tour(house, SHORT, width=1280)


@pytest.mark.slow
@pytest.mark.parametrize("width", [1280, 390])
def test_a_day_of_200_requests_at_the_keyboard(house: House, width: int) -> None:
    expect_tour(house, LONG, width=width)


def test_a_held_key_answers_one_request_and_a_click_hits_no_card_that_has_just_moved(house: House) -> None:
    client = house.client()
    asked = [ask(client, number) for number in range(4)]
    with staff(house.urls[-1], house.admin_name, house.admin_password) as page:
        page.set_viewport_size({"width": 390, "height": 844})
        expect(page.locator("[data-live-state=live]")).to_be_visible()
        page.keyboard.press("/")
        page.keyboard.type("add")
        page.keyboard.press("Escape")  # It leaves the field: the next keys are the queue's again.
        page.keyboard.press("j")
        row = page.locator(f'tr[data-live-row="{asked[0]["id"]}"]')
        expect(row.locator("button").first).not_to_have_attribute("inert", "")
        page.evaluate("window.early = new KeyboardEvent('keydown', {key: 'd', bubbles: true})")
        page.keyboard.down("a")
        for _ in range(20):
            page.keyboard.down("a")  # Held: the browser repeats it.
        expect(row).to_have_count(0)
        for _ in range(20):
            page.keyboard.down("a")
        page.keyboard.up("a")
        assert [state(client, each) for each in asked] == ["approved", "pending", "pending", "pending"]
        # The next card has come under the pointer: for half a second its buttons take nothing.
        second = page.locator(f'tr[data-live-row="{asked[1]["id"]}"]')
        deny = second.get_by_role("button", name="Deny")
        expect(deny).not_to_have_attribute("inert", "")
        # A key that was pressed before the card came, and that a busy page sees only now, was meant for another.
        page.evaluate("document.body.dispatchEvent(window.early)")
        expect(second).to_have_class("ap-cursor")
        decide(client, asked[2], "deny")
        expect(page.locator(f'tr[data-live-row="{asked[2]["id"]}"]')).to_have_count(0)
        last = page.locator(f'tr[data-live-row="{asked[3]["id"]}"]').get_by_role("button", name="Approve")
        assert last.get_attribute("inert") is not None
        small = page.evaluate(
            "[...document.querySelectorAll('#content button, #content .wr-button, #content summary, .ap-pick label')]"
            ".filter(e => e.offsetHeight && (e.offsetHeight < 44 || e.offsetWidth < 44)).map(e => e.outerHTML)"
        )
        assert small == []
        last.click()
        expect(last).to_have_count(0)
        expect(page.locator("#ap-results")).to_contain_text("You approved it.")
        assert [state(client, each) for each in asked] == ["approved", "pending", "denied", "approved"]


def decide(client: httpx.Client, approval: dict[str, Any], decision: str) -> None:
    body = {"decision": decision, "digest": approval["digest"]}
    client.post(f"/api/v1/approvals/{approval['id']}/decide", json=body).raise_for_status()


def decide_or_lose(client: httpx.Client, approval: dict[str, Any], decision: str) -> None:
    """Answer by REST. A key of one of the pages may have answered in the meantime."""
    body = {"decision": decision, "digest": approval["digest"]}
    answer = client.post(f"/api/v1/approvals/{approval['id']}/decide", json=body)
    assert answer.status_code == 200 or answer.json()["type"] == "already-decided", answer.text


def expect_the_same(house: House, rounds: int) -> None:
    """Two people answer at once while requests come and end elsewhere: both see the same queue, and nothing twice."""
    client, dice, asked = house.client(), random.Random(9), 0
    login = house.manage("shell", "-c", SECOND_PERSON).split("LOGIN ", 1)[1].split()[0]
    with staff(house.urls[-1], house.admin_name, house.admin_password) as one:
        other = another_page(one, house.urls[0], login)
        pages = [one, other]
        for page in pages:
            expect(page.locator("[data-live-state=live]")).to_be_visible()
            first = ask(client, asked)
            asked += 1
            expect(page.locator(f'tr[data-live-row="{first["id"]}"]')).to_be_visible()
            page.keyboard.press("j")
            answer_here(page, client, first, "denied")
            wait_until(lambda first=first: state(client, first) == "denied")
        for _ in range(rounds):
            match dice.randrange(5):
                case 0 | 1:
                    ask(client, asked)
                    asked += 1
                case 2:
                    waiting = client.get("/api/v1/approvals?status=pending&limit=1").json()["results"]
                    if waiting:
                        decide_or_lose(client, waiting[0], dice.choice(["deny", "approve"]))
                case _:
                    dice.choice(pages).keyboard.press(dice.choice("jjkada"))

        def pending() -> list[str]:
            """The first page of the queue."""
            params = {"status": "pending", "limit": queue.PER_PAGE}
            found = client.get("/api/v1/approvals", params=params).raise_for_status().json()["results"]
            return [each["id"] for each in found]

        # The last answers may still be under way when the traffic ends.
        wait_until(lambda: cards(one) == cards(other) == pending())
        waiting, number = pending(), client.get("/api/v1/approvals/count").json()["pending"]
        counts = [page.locator("[data-live-count]").get_attribute("data-live-count") for page in pages]
        decided = [each["payload"]["approval_id"] for each in feed(client) if each["type"] == "approval_decided"]
        assert faults([cards(page) for page in pages], waiting, counts, number, decided, asked) == []
        assert asked > number
    found = [client.get(f"/api/v1/approvals/{each}").json() for each in decided]
    people = {each["decided_by"]["user"] for each in found if each["decision"]["via"] == "admin"}
    assert people == {house.admin_name, "second"}, "both people answered some"


def faults(
    seen: list[list[str]], waiting: list[str], counts: list[str | None], number: int, decided: list[str], asked: int
) -> list[str]:
    """Return the differences between the cards and counts of the pages, and the requests that wait and ended."""
    checks = {
        "a page has other cards, or another order": all(each == waiting for each in seen),
        "a page has another count": all(each == str(number) for each in counts),
        "a card was answered twice": len(set(decided)) == len(decided),
        "an answer is missing": len(set(decided)) == asked - number,
    }
    return [fault for fault, holds in checks.items() if not holds]


@pytest.mark.parametrize(
    ("fault", "changed"),
    [
        ("a page has other cards, or another order", {"seen": [["a", "b"], ["b", "a"]]}),
        ("a page has other cards, or another order", {"seen": [["a", "b"], ["a"]]}),
        ("a page has other cards, or another order", {"seen": [["a", "b", "x"], ["a", "b"]]}),
        ("a page has another count", {"counts": ["2", "3"]}),
        ("a card was answered twice", {"decided": ["c", "d", "d"]}),
        ("an answer is missing", {"decided": ["c"]}),
    ],
)
def test_control_each_difference_of_two_queues_is_a_fault(fault: str, changed: Any) -> None:
    same: dict[str, Any] = {"seen": [["a", "b"]] * 2, "counts": ["2"] * 2, "decided": ["c", "d"]}
    assert faults(waiting=["a", "b"], number=2, asked=4, **same) == []
    assert faults(waiting=["a", "b"], number=2, asked=4, **same | changed) == [fault]


def feed(client: httpx.Client) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    while True:
        after = {"after": found[-1]["cursor"]} if found else {}
        page = client.get("/api/v1/feed", params={**after, "limit": 100}).raise_for_status().json()["results"]
        found += page
        if not page:
            return found


def test_two_browsers_see_the_same_queue(house: House) -> None:
    expect_the_same(house, 80)


@pytest.mark.slow
def test_two_browsers_see_the_same_queue_for_a_minute(house: House) -> None:
    expect_the_same(house, 800)
