"""Many people answer the same request at once, in the admin and by REST, against real server processes."""

from __future__ import annotations

import json
import re
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import httpx
import pytest

from tests.servers.stack import House

pytestmark = [pytest.mark.stack, pytest.mark.timeout(600)]

PEOPLE = 32
CSRF = "c" * 32

# Run inside the house: people who may answer, half with a signed-in browser and half with an API key.
MAKE_PEOPLE = f"""
import json
from django.test import Client
from accounts import credentials, projects
from accounts.models import User
people = []
for number in range({PEOPLE}):
    user = User.objects.create(username=f"person-{{number}}", is_staff=True, is_superuser=True)
    if number % 4 < 2:
        client = Client()
        client.force_login(user)
        people.append(["admin", client.cookies["sessionid"].value])
    else:
        scopes = ["approvals:decide"]
        people.append(["rest", credentials.mint(kind="api", project=projects.default(), scopes=scopes, user=user)[1]])
print("PEOPLE", json.dumps(people))
"""


@dataclass
class Said:
    """One person's answer: their own decision, or the current one."""

    won: bool
    told: str


class Person:
    """Somebody with one opinion: even numbers approve, odd ones deny."""

    def __init__(self, number: int, way: str, secret: str, house: Any) -> None:
        self.name = f"person-{number}"
        self.decision = "approve" if number % 2 == 0 else "deny"
        self.way = way
        cookies = {"sessionid": secret, "csrftoken": CSRF} if way == "admin" else {}
        web = 1 + number // 4 % len(house.urls)
        self.http = house.client(web, key=secret, cookies=cookies)

    def answer(self, approval: dict) -> Said:
        form = {"decision": self.decision, "digest": approval["digest"], "version": approval["version"]}
        return self.by_rest(approval["id"], form) if self.way == "rest" else self.by_hand(approval["id"], form)

    def by_rest(self, approval_id: str, form: dict) -> Said:
        answer = self.http.post(f"/api/v1/approvals/{approval_id}/decide", json=form)
        if answer.status_code == 200:
            return Said(True, answer.json()["status"])
        assert (answer.status_code, answer.json()["type"]) == (409, "already-decided"), answer.text
        return Said(False, answer.json()["approval"]["status"])

    def by_hand(self, approval_id: str, form: dict) -> Said:
        form["csrfmiddlewaretoken"] = CSRF
        answer = self.http.post(f"/admin/approvals/approval/{approval_id}/decide/", data=form)
        if answer.status_code == 302:
            return Said(True, "approved" if self.decision == "approve" else "denied")
        assert answer.status_code == 409, answer.text
        told = re.search(r"person-\d+\b.* (approved|denied) it at", answer.text)
        assert told, answer.text
        return Said(False, told[1])


def ask(client: httpx.Client, number: int) -> dict:
    body = {"request_id": f"r-{number}", "tool_name": "shell", "permission": "execute", "resource": "ls"}
    return client.post("/api/v1/approvals", json=body).raise_for_status().json()


def expect_one_winner(house: Any, rounds: int) -> None:
    made = house.manage("shell", "-c", MAKE_PEOPLE)
    people = [
        Person(number, way, secret, house)
        for number, (way, secret) in enumerate(json.loads(made.split("PEOPLE ", 1)[1].splitlines()[0]))
    ]
    approvals = [ask(house.client(), number) for number in range(rounds)]
    barrier = threading.Barrier(PEOPLE)

    def answer_all(person: Person) -> list[Said]:
        return [at_once(person, approval) for approval in approvals]

    def at_once(person: Person, approval: dict) -> Said:
        barrier.wait(60)
        try:
            return person.answer(approval)
        except BaseException:
            barrier.abort()  # Nobody else need wait for who failed.
            raise

    with ThreadPoolExecutor(PEOPLE) as pool:
        running = [pool.submit(answer_all, person) for person in people]
    broken = [run.exception() for run in running if run.exception()]
    broken.sort(key=lambda error: isinstance(error, threading.BrokenBarrierError))
    assert not broken, broken[0]
    said = list(zip(*[run.result() for run in running], strict=True))
    winners: Counter[str] = Counter()
    for approval, answers in zip(approvals, said, strict=True):
        standing = house.client().get(f"/api/v1/approvals/{approval['id']}").json()
        assert [answer.won for answer in answers].count(True) == 1
        assert {answer.told for answer in answers} == {standing["status"]}
        winner = people[[answer.won for answer in answers].index(True)]
        assert standing["decision"]["kind"] == winner.decision
        assert standing["decision"]["via"] == winner.way
        winners[winner.way, winner.decision] += 1
    assert sum(winners.values()) == rounds
    feed = [event for event in pages(house.client(), "/api/v1/feed") if event["type"] == "approval_decided"]
    assert len(feed) == len({event["payload"]["approval_id"] for event in feed}) == rounds
    expect_a_quorum(house, people)
    house.manage("verify_audit")


def expect_a_quorum(house: Any, people: list[Person]) -> None:
    """A rule wants three people, and they answer by a page and by keys. A second vote of a person counts once."""
    client = house.client()
    rule = {"name": "three", "outcome": "ask", "match": {"tools": ["shell"]}, "approvers": {"quorum": 3}}
    client.post("/api/v1/rules", json=rule).raise_for_status()
    approval = ask(client, -1)
    for number, votes in ((0, 1), (2, 2), (0, 2), (2, 2)):
        assert people[number].answer(approval).won
        now = client.get(f"/api/v1/approvals/{approval['id']}").json()
        assert (now["status"], now["votes"]) == ("pending", votes)
    assert people[6].answer(approval).told == "approved"


def pages(client: httpx.Client, path: str) -> Iterator[Any]:
    cursor = None
    while True:
        page = client.get(path, params={"after": cursor} if cursor else {}).raise_for_status().json()
        yield from page["results"]
        if not page["results"] or page["next"] in (None, cursor):
            return
        cursor = page["next"]


def test_of_32_answers_at_once_one_wins_and_31_are_told_so(stack: Callable[..., House]) -> None:
    expect_one_winner(stack(web=2, worker=False, beat=False), rounds=3)


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_of_32_answers_to_each_of_100_approvals_one_wins(stack: Callable[..., House]) -> None:
    expect_one_winner(stack(web=2, worker=False, beat=False), rounds=100)
