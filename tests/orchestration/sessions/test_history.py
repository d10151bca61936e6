"""The history of a session, page by page: every entry once, with bounded memory."""

from __future__ import annotations

import os
import subprocess
import sys
from datetime import timedelta
from typing import Any

import pytest
from django.utils import timezone

from accounts import projects
from accounts.actors import Actor
from mailbox import delivery, session_inbox
from mailbox.envelope import NewMessage
from mailbox.store import receipts
from orchestration.models import Session, TranscriptItem
from orchestration.sessions import history, spawn
from tests.servers.databases import ROOT

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def session(transactional_db: None) -> Session:
    order = spawn.SpawnOrder(assignment="do it", runner="external")
    return spawn.spawn(projects.default(), order, Actor.system("test")).session


def send(session: Session, count: int, **more: Any) -> list[str]:
    messages = [NewMessage(**({"message_kind": "task", "body": f"m{number}"} | more)) for number in range(count)]
    return [each.id for each in delivery.deliver(session.project_id, session.address, messages)]


def admit(session: Session, *ids: str) -> None:
    assert session_inbox.admit(session.project_id, session.address, ids, attempt=1) == list(ids)


def say(session: Session, position: int, content: Any, **more: Any) -> None:
    TranscriptItem.objects.create(
        session=session, attempt=1, position=position, role="assistant", content=content, size=len(str(content)), **more
    )


def told(entries: list[dict[str, Any]]) -> list[Any]:
    return [entry["content"] for entry in entries]


def all_pages(session: Session, budget: int) -> list[list[Any]]:
    found, place = history.page(session, budget)
    pages = [told(found)]
    while place is not None:
        # As a reader has it.
        found, place = history.page(session, budget, history.Place.read(str(place)))
        pages.append(told(found))
    return pages


def test_a_place_does_not_move_while_messages_are_admitted_out_of_order(session: Session) -> None:
    ids = send(session, 7)
    for number in range(1, 7):
        admit(session, ids[number])
    first, place = history.page(session, 300)
    assert told(first) == ["m1", "m2"]
    admit(session, ids[0])
    rest, end = history.page(session, 100_000, place)
    assert told(rest) == ["m3", "m4", "m5", "m6", "m0"] and end is None


def test_every_entry_comes_once_however_small_the_pages_are(session: Session) -> None:
    ids = send(session, 12)
    for position in range(12):
        say(session, position, f"i{position}")
        admit(session, ids[11 - position])
    whole = [entry for position in range(12) for entry in (f"i{position}", f"m{11 - position}")]
    for budget in (1, 100, 333, 1000, 100_000):
        found = [entry for page in all_pages(session, budget) for entry in page]
        # Each kind in its own order; an item and a message of the same moment may stand either way.
        for kind in "im":
            assert [entry for entry in found if entry[0] == kind] == [entry for entry in whole if entry[0] == kind]
    assert len(all_pages(session, 1)) >= 24


def test_a_clock_that_went_back_hides_and_repeats_nothing(session: Session) -> None:
    for position in range(6):
        say(session, position, f"i{position}", at=timezone.now() - timedelta(hours=position))
        admit(session, *send(session, 1))
    assert sorted(entry for page in all_pages(session, 200) for entry in page) == sorted(
        [f"i{position}" for position in range(6)] + ["m0"] * 6
    )


def test_what_is_let_go_between_two_pages_moves_no_place(session: Session) -> None:
    ids = send(session, 6)
    admit(session, *ids)
    _, place = history.page(session, 300)
    say(session, 0, "later")
    receipts.forget(receipts.due(timezone.now() + timedelta(days=1), 100))
    assert told(history.page(session, 100_000, place)[0]) == ["later"]


def test_questions_that_were_answered_beside_the_work_are_passed_over_and_the_rest_is_found(
    session: Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(history, "AT_ONCE", 3)
    asks = send(session, 10, message_kind="ask", body={"question": "why?"})
    admit(session, *asks, *send(session, 1))
    assert all_pages(session, 1) == [["m0"]]


@pytest.mark.parametrize(
    "cursor",
    ["x", "1", "1.2.3", "1.2.3.4.5", "1.2.3.-4", "1.2.3.٤", "9" * 200, "1.1.1." + "9" * 19, "0.1.1.1", "1.1.0.1"],
)
def test_a_cursor_of_another_kind_is_no_place(cursor: str) -> None:
    assert history.Place.read(cursor) is None


@pytest.mark.timeout(300)
def test_a_page_of_a_long_history_loads_no_more_than_a_page(session: Session) -> None:
    large = {"text": "x" * 250_000}
    for _ in range(20):
        admit(session, *send(session, 10, body=large))
    for position in range(40):
        say(session, position, ["y" * 500_000])
    command = [sys.executable, "-c", MEASURED, str(session.pk)]
    done = subprocess.run(command, cwd=ROOT, env=dict(os.environ), capture_output=True, text=True, timeout=200)
    assert done.returncode == 0, done.stderr
    entries, pages, mib = map(int, done.stdout.split())
    assert (entries, pages > 50) == (240, True)
    assert mib < 32, f"{mib} MiB for pages of half a MiB, of a history of 68 MiB"


#: How many entries and pages a history has, and how many MiB it took to read all of it page by page.
MEASURED = """
import os, resource, sys, django
os.environ.setdefault("DJANGO_SETTINGS_MODULE", "config.settings")
django.setup()
from orchestration.sessions import history
from orchestration.models import Session
def peak(): return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
session = Session.objects.get(pk=sys.argv[1])
history.page(session, 1)
before, entries, pages, place = peak(), 0, 0, None
while pages == 0 or place is not None:
    found, place = history.page(session, 512 * 1024, place)
    entries, pages = entries + len(found), pages + 1
print(entries, pages, peak() - before)
"""
