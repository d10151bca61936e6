"""A round that was slow, a database that was away, and a reviewer that was changed, each in the middle of a call."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import pytest
from django.db import OperationalError

from accounts.models import Project
from approvals.models import Approval, Review, Reviewer, Rule
from approvals.review import ending, reviewers, round
from approvals.review.bodies import ReviewerBody
from core.concurrency import loop_thread
from core.db.clock import later
from core.web import request_body
from ledger.deliveries import lanes
from ledger.models import Lane
from tests.approvals.review.conftest import Reviewing, look, said
from tests.approvals.rules.conftest import EDITOR
from tests.ledger.webhooks.receiver import Receiver, receiving

pytestmark = pytest.mark.django_db
Round = Callable[[], round._Round]


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """A round ends as soon as nothing is left, and tries again at once."""
    for name in ("IDLE_SECS", "AGAIN_SECS", "RENEW_SECS"):
        monkeypatch.setattr(round, name, 0.0)


@pytest.fixture
def begin() -> Iterator[Round]:
    """Take the lane, and return a round that has called the reviewers."""
    with ExitStack() as stack:

        def begun() -> round._Round:
            lanes.ensure([round.LANE])
            lease = lanes.take(round.LANE)
            assert lease is not None
            one = round._Round(stack.enter_context(loop_thread.running("reviews", threads=1)), lease)
            one.begin()
            return one

        yield begun


def end(one: round._Round) -> None:
    for call in list(one.jobs):
        one.finish(call)


def test_a_round_that_lost_its_lease_calls_nobody_and_gives_the_lane_of_the_next_one_to_nobody(
    reviewing: Reviewing, receiver: Receiver, begin: Round
) -> None:
    receiver.answers = [said("DENY")] * 3
    approval, slow = reviewing(), begin()
    Lane.objects.filter(name=round.LANE).update(leased_until=later(-1))
    next_one = begin()
    reviewing(tool_name="other")
    # The slow one goes on: to the reviews that wait, to the end of its call, to the renewal and to its own end.
    slow.begin()
    assert (slow.is_over, slow.calls) == (True, 1)
    end(slow)
    assert look(approval)["state"] == "waiting", "its claim was taken over"
    lanes.renew([slow.lease], 1000)
    lanes.release(slow.lease)
    assert lanes.is_held(next_one.lease) and not lanes.is_held(slow.lease)
    assert lanes.take(round.LANE) is None
    assert not Lane.objects.filter(name=round.LANE, leased_until__gt=later(500)).exists()
    end(next_one)
    assert look(approval)["state"] == "deny"
    assert next_one.kept == {} and not Review.objects.filter(approval=approval).exists()


def test_a_round_notices_that_another_one_runs_and_ends(
    reviewing: Reviewing, receiver: Receiver, begin: Round, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(round, "IDLE_SECS", 15.0)
    receiver.answers = [said("ASK")]
    reviewing()
    slow = begin()
    Lane.objects.filter(name=round.LANE).update(leased_until=later(-1))
    assert lanes.take(round.LANE) is not None
    began = time.monotonic()
    assert slow.run() == 1
    assert (slow.is_over, time.monotonic() - began < 10) == (True, True)


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("failures", [1, 3])
def test_a_verdict_that_cannot_be_recorded_is_recorded_later_and_not_asked_for_again(
    reviewing: Reviewing, receiver: Receiver, monkeypatch: pytest.MonkeyPatch, failures: int
) -> None:
    approval, real, left = reviewing(), ending.end, [OperationalError("away")] * failures

    def fails_first(*args: Any) -> bool:
        if left:
            raise left.pop()
        return real(*args)

    monkeypatch.setattr(ending, "end", fails_first)
    receiver.answers = [said("DENY"), said("ASK")]
    assert round.run() == 1
    assert (len(receiver.got), look(approval)["state"], left) == (1, "deny", [])


@pytest.mark.django_db(transaction=True)
def test_a_round_outlives_a_database_that_is_away_while_a_reviewer_answers(
    reviewing: Reviewing, receiver: Receiver, monkeypatch: pytest.MonkeyPatch, begin: Round
) -> None:
    receiver.answers = [said("DENY"), said("ASK")]
    approval = reviewing()
    one = begin()
    real, left = lanes.renew, [OperationalError("away")]

    def away(*args: Any) -> None:
        if left:
            raise left.pop()
        real(*args)

    monkeypatch.setattr(lanes, "renew", away)
    assert one.run() == 1
    assert (len(receiver.got), look(approval)["state"]) == (1, "deny")


def test_a_verdict_that_can_never_be_recorded_ends_the_round_all_the_same(
    reviewing: Reviewing, receiver: Receiver, monkeypatch: pytest.MonkeyPatch, begin: Round
) -> None:
    def fails(*args: Any) -> bool:
        raise OperationalError("away")

    monkeypatch.setattr(ending, "end", fails)
    monkeypatch.setattr(round, "KEPT_SECS", 0.0)
    receiver.answers = [said("DENY")]
    reviewing()
    one = begin()
    end(one)
    assert one.kept == {}


def change(project: Project, **fields: Any) -> None:
    body = request_body.convert({"name": "careful", **fields}, ReviewerBody)
    reviewers.change(project.pk, Reviewer.objects.get().pk, body, EDITOR)


def test_the_running_call_of_a_reviewer_that_was_changed_counts_for_nothing(
    project: Project, reviewing: Reviewing, receiver: Receiver, begin: Round
) -> None:
    receiver.answers = [said("ALLOW")]
    approval = reviewing(review={"may_allow": True})
    with receiving() as second:
        second.answers = [said("DENY")]
        one = begin()
        change(project, url=second.url)
        end(one)
        assert look(approval)["state"] == "waiting"
        one.begin()
        end(one)
    assert (Approval.objects.get(pk=approval.pk).status, len(second.got)) == ("denied", 1)


def test_another_number_of_places_leaves_the_running_call(
    project: Project, reviewing: Reviewing, receiver: Receiver, begin: Round
) -> None:
    receiver.answers = [said("DENY")]
    approval, one = reviewing(), begin()
    change(project, url=receiver.url, at_once=2)
    end(one)
    assert look(approval)["state"] == "deny"


def test_the_running_call_of_a_reviewer_that_was_deleted_counts_for_nothing(
    project: Project, reviewing: Reviewing, receiver: Receiver, begin: Round
) -> None:
    receiver.answers = [said("ALLOW")]
    approval, one = reviewing(review={"may_allow": True}), begin()
    Rule.objects.all().delete()
    reviewers.delete(project.pk, Reviewer.objects.get().pk, EDITOR)
    end(one)
    assert look(approval)["state"] == "waiting"


def test_a_reviewer_that_changes_while_it_is_chosen_is_called_as_it_is_now(
    project: Project, reviewing: Reviewing, receiver: Receiver, begin: Round, monkeypatch: pytest.MonkeyPatch
) -> None:
    approval = reviewing()
    with receiving() as second:
        second.answers = [said("DENY")]
        held = lanes.held

        def and_change(lease: lanes.Lease) -> Any:
            change(project, url=second.url)
            return held(lease)

        monkeypatch.setattr(lanes, "held", and_change)
        end(begin())
    assert (receiver.got, look(approval)["state"]) == ([], "deny")


def unframed(handler: Any) -> None:
    """Answer 200 without a length, and end the connection in the middle of the text."""
    handler.wfile.write(b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\n\r\nALLOW")
    handler.close_connection = True


def banner(handler: Any) -> None:
    """Answer as another protocol does."""
    handler.wfile.write(b"220 inside.example ESMTP secret-version\r\n")
    handler.close_connection = True


def page(handler: Any) -> None:
    """Answer as a service inside that knows no reviews."""
    body = b"ALLOW: root:x:0:0 of inside.example"
    handler.send_response(200)
    handler.send_header("Content-Type", "text/html; charset=inside.example")
    handler.send_header("Content-Length", str(len(body)))
    handler.end_headers()
    handler.wfile.write(body)


@pytest.mark.parametrize(
    ("answer", "note"),
    [
        (unframed, "its answer does not say where it ends: send Content-Length"),
        (banner, "not HTTP: the answer cannot be read"),
        (page, "the first line is none of ALLOW, DENY, ASK (35 characters of text/html)"),
    ],
)
def test_an_answer_without_a_verdict_is_not_quoted_and_one_that_may_be_cut_is_no_verdict(
    reviewing: Reviewing, receiver: Receiver, answer: Any, note: str
) -> None:
    receiver.answers = [answer]
    approval = reviewing(review={"may_allow": True})
    began = time.monotonic()
    round.run()
    assert (look(approval)["state"], look(approval)["note"]) == ("failed", note)
    assert time.monotonic() - began < 10
