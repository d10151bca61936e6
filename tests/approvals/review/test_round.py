"""Calls of reviewers: each reviewer has its bound, one round runs at a time, and one answer wins among processes."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from collections import Counter
from http.server import BaseHTTPRequestHandler
from typing import Any
from uuid import uuid4

import pytest

from accounts.models import Project
from approvals.models import Approval, Review
from approvals.review import ending, round
from approvals.review.replies import Reply
from approvals.states import ReviewState
from ledger.audit import chain
from ledger.deliveries import lanes
from ledger.models import AuditEntry
from tests.approvals.conftest import Asked
from tests.approvals.review.conftest import Reviewing, add, said, waiting
from tests.approvals.review.test_reviewers import package  # noqa: F401 - a fixture
from tests.approvals.rules.conftest import Ruled
from tests.approvals.test_races_of_processes import ROUNDS, Racer, racers  # noqa: F401 - a fixture
from tests.ledger.webhooks.receiver import Receiver, receiving


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """A round ends as soon as nothing is left."""
    monkeypatch.setattr(round, "IDLE_SECS", 0.0)


@pytest.mark.django_db
def test_a_reviewer_gets_no_more_at_once_than_its_bound_and_holds_up_no_other(
    project: Project, ruled: Ruled, asked: Asked, receiver: Receiver
) -> None:
    both, other = threading.Barrier(2), threading.Event()
    now, most = Counter[str](), Counter[str]()

    def answer(handler: BaseHTTPRequestHandler) -> None:
        now["calls"] += 1
        most["calls"] = max(most["calls"], now["calls"])
        # Two of the four calls come together, and they end only when the other reviewer was called.
        both.wait(20)
        assert other.wait(20)
        now["calls"] -= 1
        said("ASK")(handler)

    def note(handler: BaseHTTPRequestHandler) -> None:
        other.set()
        said("DENY")(handler)

    with receiving() as second:
        add(project, "many", url=receiver.url, at_once=2)
        add(project, "other", url=second.url)
        for name in ("many", "other"):
            ruled(name=name, match={"tools": [name]}, outcome="review", review={"reviewer": name})
        receiver.answers, second.answers = [answer] * 4, [note]
        # The others are asked first, and fill the places of their reviewer.
        crowd = [asked(tool_name="many") for _ in range(4)]
        single = asked(tool_name="other")
        assert round.run() == 5
    assert most["calls"] == 2
    single.refresh_from_db()
    assert single.status == "denied"
    assert {Approval.objects.get(pk=row.pk).reviews[0]["state"] for row in crowd} == {"ask"}


@pytest.mark.django_db
def test_one_round_runs_at_a_time_and_a_dead_one_is_followed_by_another(
    reviewing: Reviewing, receiver: Receiver
) -> None:
    approval = reviewing()
    receiver.answers = [said("ASK")]
    lanes.ensure([round.LANE])
    lease = lanes.take(round.LANE, 60)
    assert lease is not None and (round.run(), receiver.got) == (0, [])
    # A round that died after its call has left its claim.
    Review.objects.update(claim=uuid4())
    lanes.release(lease)
    assert round.run() == 1
    approval.refresh_from_db()
    assert approval.reviews[0]["state"] == "ask"


@pytest.mark.django_db
@pytest.mark.usefixtures("package")
def test_a_program_gets_no_secret_of_the_server(
    project: Project, ruled: Ruled, asked: Asked, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("SECRET_KEY", "DATABASE_URL", "REDIS_URL", "BROKER_URL", "EMAIL_URL", "CHAT_URLS", "INGEST_URL"):
        monkeypatch.setenv(name, "leaked")
    monkeypatch.setenv("MODEL_KEY", "wanted")
    add(project, "program", entry_point="acme")
    ruled(outcome="review", review={"reviewer": "program"})
    approval = asked(arguments={"command": "environment"})
    round.run()
    approval.refresh_from_db()
    assert "leaked" not in approval.reviews[0]["note"] and "wanted" in approval.reviews[0]["note"]


@pytest.mark.usefixtures("package")
def test_a_program_whose_worker_is_dead_ends_itself_after_its_time() -> None:
    request = '{"request": {"arguments": {"command": "hang"}}}'
    command = [sys.executable, "-m", "wardroom.reviewers", "acme", "0.5"]
    ended = subprocess.run(command, input=request, env=dict(os.environ), text=True, timeout=30, check=False)
    assert ended.returncode == -signal.SIGALRM


@pytest.mark.django_db(transaction=True)
def test_of_a_verdict_and_four_people_in_processes_one_answers(
    project: Project,
    reviewing: Reviewing,
    racers: list[Racer],  # noqa: F811
) -> None:
    winners: Counter[Any] = Counter()
    for _ in range(ROUNDS):
        approval = reviewing()
        claim = uuid4()
        Review.objects.update(claim=claim)
        review = waiting(approval)
        for racer in racers:
            racer.say(str(approval.id))
        assert [racer.hear() for racer in racers] == ["read"] * 4
        for racer in racers:
            racer.say("go")
        assert ending.end(review, claim, Reply(ReviewState.DENY))
        people = Counter(racer.hear() for racer in racers)
        approval.refresh_from_db()
        won = approval.reviews[0]["has_answered"]
        assert approval.decided_via == ("rule" if won else "rest")
        assert people["already-decided"] == (4 if won else 3), people
        winners[won] += 1
    assert winners.total() == ROUNDS
    assert AuditEntry.objects.filter(action="approval.decided").count() == ROUNDS
    assert chain.verify(project.pk) is None
