"""The bounds of a round: no receiver holds it for long, and those in trouble share few of its places."""

from __future__ import annotations

import asyncio
import threading
from datetime import timedelta
from http.server import BaseHTTPRequestHandler
from uuid import uuid4

import pytest

from accounts.models import Project
from core.concurrency import loop_thread
from core.db.clock import later, read_database_clock
from ledger.deliveries import lanes, round
from ledger.deliveries.senders import Outcome
from ledger.models import Delivery, Lane
from ledger.webhooks import follow, sender
from tests.ledger.webhooks.conftest import add, happen
from tests.ledger.webhooks.receiver import Receiver
from tests.limits import Timings
from tests.waiting import breathe

pytestmark = pytest.mark.django_db


def job() -> list[Outcome]:
    return asyncio.run(sender.prepare(list(Delivery.objects.order_by("cursor")))())


def slow(handler: BaseHTTPRequestHandler) -> None:
    breathe(0.15)
    handler.send_response(204)
    handler.end_headers()


def test_a_job_ends_when_its_time_is_over_or_at_a_failure(
    project: Project, receiver: Receiver, timings: Timings
) -> None:
    add(project, receiver.url)
    happen(project, *(f"event_{number}" for number in range(6)))
    follow.follow()
    receiver.answers = [slow] * 6
    with timings(delivery_timeout_secs=0.3):
        assert 1 <= len(job()) < 6
    receiver.answers = [204, 500]
    assert [outcome.is_sent for outcome in job()] == [True, False]


def test_an_asked_pause_has_an_end(project: Project, receiver: Receiver) -> None:
    webhook, _ = add(project, receiver.url)

    def wait_for_ever(handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(503)
        handler.send_header("Retry-After", "99999")
        handler.send_header("Content-Length", "0")
        handler.end_headers()

    receiver.answers = [wait_for_ever]
    happen(project, "approval_requested")
    round.run()
    paused = Lane.objects.get(name=webhook.lane).paused_until - read_database_clock()
    assert timedelta(minutes=59) < paused <= timedelta(hours=1)


def test_a_job_has_few_deliveries_and_one_of_a_receiver_that_failed(project: Project, receiver: Receiver) -> None:
    webhook, _ = add(project, receiver.url)
    happen(project, *(f"event_{number}" for number in range(lanes.MOST_AT_ONCE + 5)))
    follow.follow()
    assert len(lanes.load(webhook.lane)) == lanes.MOST_AT_ONCE
    failure = Outcome(delivery=lanes.load(webhook.lane)[0].pk, is_sent=False, error="x" * 10_000)
    lease = lanes.take(webhook.lane)
    assert lease is not None
    lanes.record(lease, [failure])
    assert len(Delivery.objects.get(pk=failure.delivery).last_error) == 500
    assert len(lanes.load(webhook.lane)) == 1


@pytest.fixture
def troubled(project: Project, receiver: Receiver, monkeypatch: pytest.MonkeyPatch) -> Receiver:
    """Five receivers that failed last. Two of them may be tried at once."""
    monkeypatch.setattr(round, "TROUBLED_AT_ONCE", 2)
    hooks = [add(project, f"{receiver.url}/{number}")[0] for number in range(5)]
    happen(project, "approval_requested")
    follow.follow()
    Lane.objects.filter(name__in=[hook.lane for hook in hooks]).update(failures=1)
    return receiver


def test_receivers_in_trouble_share_few_places(troubled: Receiver) -> None:
    lock, active, most = threading.Lock(), 0, 0

    def note(handler: BaseHTTPRequestHandler) -> None:
        nonlocal active, most
        with lock:
            active += 1
            most = max(most, active)
        slow(handler)
        with lock:
            active -= 1

    troubled.answers = [note] * 5
    assert round.run() == 5
    assert most == 2


def test_no_receiver_in_trouble_begins_after_the_time_of_a_round(troubled: Receiver, timings: Timings) -> None:
    troubled.answers = [slow] * 5
    with timings(delivery_round_secs=0.1):
        assert round.run() == 2


def test_a_process_that_lost_its_lane_writes_only_what_it_has_sent(project: Project, receiver: Receiver) -> None:
    webhook, _ = add(project, receiver.url)
    happen(project, "approval_requested", "approval_decided")
    follow.follow()
    slow = lanes.take(webhook.lane)
    assert slow is not None
    first, second = lanes.load(webhook.lane)
    Lane.objects.filter(name=webhook.lane).update(leased_until=later(-1))
    assert lanes.take(webhook.lane) is not None
    outcomes = [Outcome(delivery=first.pk, is_sent=True), Outcome(delivery=second.pk, is_sent=False, error="x")]
    assert lanes.record(slow, outcomes) == 1
    assert list(Delivery.objects.order_by("cursor").values_list("state", "tries")) == [("sent", 1), ("waiting", 0)]
    assert Lane.objects.get(name=webhook.lane).failures == 0


def test_a_round_that_lost_its_lease_begins_no_further_job(
    project: Project, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(round, "AT_ONCE", 1)
    monkeypatch.setattr(round, "RENEW_SECS", 0.0)
    for number in range(2):
        add(project, f"{receiver.url}/{number}")
    happen(project, "approval_requested")
    follow.follow()
    lanes.ensure([round.ROUND])
    lost = lanes.take(round.ROUND)
    assert lost is not None
    Lane.objects.filter(name=round.ROUND).update(lease=uuid4())
    with loop_thread.running("deliveries", threads=2) as loop:
        assert round._Round(loop, lost).run() == 1
    assert len(receiver.got) == 1


def test_an_answer_that_has_no_body_keeps_the_connection(project: Project, receiver: Receiver) -> None:
    def bare(handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(204)
        handler.end_headers()

    add(project, receiver.url)
    receiver.answers = [bare] * 3
    happen(project, "approval_requested", "approval_decided", "approval_expired")
    round.run()
    assert (len(receiver.got), receiver.connections) == (3, 1)


@pytest.mark.parametrize(("column", "is_free"), [("is_held", False), ("leased_until", False), ("paused_until", True)])
def test_a_lane_that_is_held_leased_or_paused_is_not_served(
    project: Project, receiver: Receiver, column: str, is_free: bool
) -> None:
    webhook, _ = add(project, receiver.url)
    happen(project, "approval_requested")
    follow.follow()
    assert lanes.ready(troubled=False, most=9) == [webhook.lane]
    Lane.objects.filter(name=webhook.lane).update(**{column: True if column == "is_held" else later(60)})
    assert lanes.ready(troubled=False, most=9) == []
    # A redrive ends a pause: it is no reason against a lease.
    assert (lanes.take(webhook.lane) is not None) == is_free
