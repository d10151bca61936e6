"""Webhooks to real receivers: signed, thin, retried under one id, and none waits for another."""

from __future__ import annotations

import itertools
import json
import socket
import threading
import time
from datetime import datetime, timedelta
from http.server import BaseHTTPRequestHandler
from typing import Any

import pytest

from accounts.models import Project
from core.db.clock import database_now, later, read_database_clock
from core.limits import LIMITS
from ledger import unit_of_work
from ledger.deliveries import lanes, round
from ledger.models import AuditEntry, Delivery, Event, Lane, Webhook
from ledger.webhooks import follow, receivers, sender, trial
from tests.clock import call_at
from tests.ledger.webhooks.conftest import SELF, add, happen
from tests.ledger.webhooks.receiver import Receiver, send_all
from tests.limits import Timings
from tests.waiting import breathe

pytestmark = pytest.mark.django_db


def test_the_official_library_verifies_thin_events_in_the_order_of_the_feed(
    project: Project, receiver: Receiver
) -> None:
    _, secret = add(project, receiver.url)
    happen(project, "approval_requested", "approval_decided", approval_id="a", version=2, tool_name="agent's", x="y")
    assert round.run() == 4  # Two were made, and two sent.
    first, second = receiver.verified(secret)
    cursor = Event.objects.get(type="approval_requested").cursor
    assert first["type"] == "approval_requested"
    assert first["data"] == {"project": str(project.pk), "cursor": cursor, "approval": "a", "version": 2}
    assert (second["type"], second["data"]["cursor"]) == ("approval_decided", cursor + 1)
    assert receiver.connections == 1
    assert [row.state for row in Delivery.objects.all()] == ["sent", "sent"]


def test_events_of_children_are_not_sent(project: Project, receiver: Receiver) -> None:
    import uuid

    add(project, receiver.url)
    with unit_of_work.transaction():
        unit_of_work.child_event(project.pk, "their words", {}, session=uuid.uuid4(), attempt=1, seq=1)
    assert (round.run(), receiver.got) == (0, [])
    assert Webhook.objects.get().cursor == Event.objects.get().cursor


def test_a_webhook_gets_the_types_that_it_asks_for_from_its_cursor_on(project: Project, receiver: Receiver) -> None:
    happen(project, "approval_old")
    add(project, receiver.url, "approval_*", "session_error")
    happen(project, "approval_new", "session_created", "session_error")
    round.run()
    assert [json.loads(body)["type"] for _, body in receiver.got] == ["approval_new", "session_error"]


def test_a_failed_delivery_is_sent_again_under_its_id_with_a_new_signature(
    project: Project, receiver: Receiver
) -> None:
    _, secret = add(project, receiver.url)
    receiver.answers = [500, 302, 404]
    happen(project, "approval_requested")
    for _ in range(4):
        send_all()
    assert len(set(receiver.ids)) == 1
    assert len(receiver.verified(secret)) == 4
    row = Delivery.objects.get()
    assert (row.state, row.tries, row.last_status, row.last_error) == ("sent", 4, 204, "")
    assert Lane.objects.get(name=Webhook.objects.get().lane).failures == 0


@pytest.mark.parametrize(("status", "says"), [(301, "redirects are not followed"), (400, "400"), (503, "503")])
def test_only_a_2xx_is_success_and_no_redirect_is_followed(
    project: Project, receiver: Receiver, status: int, says: str
) -> None:
    add(project, receiver.url)
    receiver.answers = [status]
    happen(project, "approval_requested")
    round.run()
    row = Delivery.objects.get()
    assert (row.state, row.last_status) == ("waiting", status)
    assert says in row.last_error
    assert len(receiver.got) == 1


def test_pauses_grow_for_three_days_and_then_it_is_given_up(project: Project, receiver: Receiver) -> None:
    add(project, receiver.url)
    receiver.answers = [500] * 50
    happen(project, "approval_requested")
    follow.follow()
    at, times = read_database_clock() + timedelta(seconds=2), list[datetime]()
    while Delivery.objects.filter(state="waiting").exists() and len(times) < 50:
        Lane.objects.exclude(name=round.ROUND).update(paused_until=None, leased_until=None)
        times.append(at)
        call_at(at, send_due)
        at = Delivery.objects.get().due_at + timedelta(seconds=1)
    pauses = [after - before for before, after in itertools.pairwise(times)]
    assert Delivery.objects.get().state == "failed"
    assert timedelta(days=2) < times[-1] - times[0] <= timedelta(days=3)
    assert pauses[0] < timedelta(seconds=10)
    assert max(pauses) < timedelta(hours=16)
    assert len(times) > 10


def send_due() -> None:
    round.run()


def test_a_receiver_that_fails_for_days_is_disabled_with_its_audit_row_and_event(
    project: Project, receiver: Receiver
) -> None:
    webhook, _ = add(project, receiver.url)
    receiver.answers = [500, 500]
    happen(project, "approval_requested")
    round.run()
    Lane.objects.filter(name=webhook.lane).update(failing_since=later(-LIMITS.webhook_disable_secs - 1))
    send_all()
    webhook.refresh_from_db()
    assert (webhook.disabled, Event.objects.filter(type="webhook_disabled").count()) == ("failing", 1)
    assert AuditEntry.objects.filter(action="webhook.disabled").count() == 1
    happen(project, "approval_decided")
    assert (send_all(), len(receiver.got)) == (0, 2)
    # Nothing is lost: enabled again, it goes on where it stopped.
    receivers.change(webhook, SELF, url=webhook.url, types=["approval_*"], name="", enabled=True)
    send_all()
    assert [json.loads(body)["type"] for _, body in receiver.got[2:]] == ["approval_requested", "approval_decided"]


def test_a_receiver_that_is_gone_is_disabled_at_once(project: Project, receiver: Receiver) -> None:
    add(project, receiver.url)
    receiver.answers = [410]
    happen(project, "approval_requested")
    round.run()
    assert Webhook.objects.get().disabled == "gone"


def test_both_secrets_sign_for_a_day_after_a_rotation(project: Project, receiver: Receiver) -> None:
    webhook, old = add(project, receiver.url)
    _, new = receivers.rotate(webhook, SELF)
    happen(project, "approval_requested")
    round.run()
    assert receiver.verified(old) == receiver.verified(new)
    Webhook.objects.update(previous_until=database_now())
    happen(project, "approval_decided")
    send_all()
    del receiver.got[0]
    assert len(receiver.verified(new)) == 1
    with pytest.raises(Exception, match="signature"):
        receiver.verified(old)


def drip(handler: BaseHTTPRequestHandler) -> None:
    """Answer one byte at a time, for ever."""
    try:
        while True:
            handler.wfile.write(b"H")
            handler.wfile.flush()
            breathe(0.05)
    except OSError:
        handler.close_connection = True


def flood(handler: BaseHTTPRequestHandler) -> None:
    """Answer 200 and more than anybody wants to read."""
    handler.send_response(200)
    handler.send_header("Content-Length", str(10**9))
    handler.end_headers()
    try:
        while True:
            handler.wfile.write(b"x" * 65536)
    except OSError:
        handler.close_connection = True


def interims(handler: BaseHTTPRequestHandler) -> None:
    """Answer that it is working on it, very often."""
    for _ in range(20):
        handler.wfile.write(b"HTTP/1.1 102 Processing\r\n\r\n")
    handler.send_response(204)
    handler.end_headers()


def long_head(handler: BaseHTTPRequestHandler) -> None:
    """Answer 204 after more headers than anybody needs."""
    handler.send_response(204)
    for number in range(64):
        handler.send_header(f"X-{number}", "x" * 1000)
    handler.end_headers()
    handler.close_connection = True


@pytest.mark.parametrize(("length", "body_secs"), [(None, 60), ("5", 0.1)])
def test_a_receiver_that_took_the_message_holds_no_place_with_the_body_of_its_answer(
    project: Project, receiver: Receiver, monkeypatch: pytest.MonkeyPatch, length: str | None, body_secs: float
) -> None:
    monkeypatch.setattr(sender, "BODY_SECS", body_secs)
    over = threading.Event()

    def take_it_and_hang(handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(200)
        if length is not None:
            handler.send_header("Content-Length", length)
        handler.end_headers()
        assert over.wait(30)

    add(project, receiver.url)
    receiver.answers = [take_it_and_hang]
    happen(project, "approval_requested")
    began = time.monotonic()
    round.run()
    over.set()
    assert (Delivery.objects.get().state, time.monotonic() - began < 5) == ("sent", True)


@pytest.mark.parametrize("answer", [interims, long_head])
def test_the_head_of_an_answer_is_bounded(project: Project, receiver: Receiver, answer: Any) -> None:
    add(project, receiver.url)
    receiver.answers = [answer]
    happen(project, "approval_requested")
    round.run()
    row = Delivery.objects.get()
    assert (row.state, row.last_status) == ("waiting", None)
    assert row.last_error.startswith("not HTTP: ")


def test_the_reading_of_an_answer_has_an_end(project: Project, receiver: Receiver, timings: Timings) -> None:
    add(project, receiver.url)
    receiver.answers = [drip, flood]
    happen(project, "approval_requested")
    with timings(delivery_timeout_secs=0.5):
        round.run()
        assert Delivery.objects.get().last_error == "no answer within 0.5 s"
        send_all()
    assert Delivery.objects.get().state == "sent"


def test_one_dead_receiver_delays_no_other(project: Project, receiver: Receiver, timings: Timings) -> None:
    hangs = socket.socket()
    hangs.bind(("127.0.0.1", 0))
    hangs.listen(1)
    for _ in range(10):
        add(project, f"http://127.0.0.1:{hangs.getsockname()[1]}/")
    add(project, receiver.url)
    arrived: list[float] = []

    def note(handler: BaseHTTPRequestHandler) -> None:
        arrived.append(time.monotonic())
        handler.send_response(204)
        handler.end_headers()

    receiver.answers = [note]
    happen(project, "approval_requested")
    with timings(delivery_timeout_secs=3, delivery_round_secs=1):
        began = time.monotonic()
        round.run()
        took = time.monotonic() - began
    hangs.close()
    assert arrived[0] - began < 1.5 < took
    assert Delivery.objects.filter(state="waiting", last_error="no answer within 3 s").count() >= 8


def test_one_round_runs_at_a_time(project: Project, receiver: Receiver) -> None:
    add(project, receiver.url)
    happen(project, "approval_requested")
    lanes.ensure([round.ROUND])
    lease = lanes.take(round.ROUND)
    assert lease is not None and (round.run(), receiver.got) == (0, [])
    lanes.release(lease)
    assert round.run() == 2


def test_a_long_backlog_waits_in_the_feed(project: Project, receiver: Receiver, timings: Timings) -> None:
    webhook, _ = add(project, receiver.url)
    happen(project, *(f"event_{number}" for number in range(12)))
    with timings(deliveries_waiting=5):
        assert [follow.follow(), follow.follow()] == [5, 0]
        for _ in range(4):
            round.run()
    assert [json.loads(body)["type"] for _, body in receiver.got] == [f"event_{number}" for number in range(12)]
    assert Webhook.objects.get().cursor == webhook.cursor + 12


def test_of_two_processes_at_one_place_of_the_feed_one_makes_the_deliveries(
    project: Project, receiver: Receiver
) -> None:
    webhook, _ = add(project, receiver.url)
    happen(project, "approval_requested")
    assert follow.advance(webhook.pk) == 1
    assert follow._move(webhook, webhook.cursor + 1, [follow.delivery(webhook, "x", {}, "1")]) == 0
    assert Delivery.objects.count() == 1


def test_a_webhook_behind_the_stored_events_is_told_to_take_a_snapshot(project: Project, receiver: Receiver) -> None:
    from ledger.models import Head

    _, secret = add(project, receiver.url, after=0)
    happen(project, "approval_requested", "approval_decided")
    Head.objects.filter(pk=project.pk).update(oldest=1)
    for _ in range(2):
        round.run()
    told = receiver.verified(secret)
    assert [(each["type"], each["data"]["cursor"]) for each in told] == [("resync", 1), ("approval_decided", 2)]


def test_what_was_sent_before_a_kill_is_sent_again_under_the_same_id(project: Project, receiver: Receiver) -> None:
    add(project, receiver.url)
    happen(project, "approval_requested")
    follow.follow()
    row = Delivery.objects.get()
    # A process takes the lane, sends, and dies before it records that.
    assert lanes.take(row.lane)
    assert send_all() == 0
    Lane.objects.filter(name=row.lane).update(leased_until=later(-1))
    send_all()
    assert receiver.ids == [f"msg_{row.pk.hex}"]


def test_a_test_event_and_a_redrive_do_not_wait_for_the_pause(project: Project, receiver: Receiver) -> None:
    webhook, _ = add(project, receiver.url)
    receiver.answers = [500]
    happen(project, "approval_requested")
    round.run()
    trial.send(webhook)
    round.run()
    assert json.loads(receiver.got[1][1])["type"] == "webhook_test"
    row = Delivery.objects.get(type="approval_requested")
    for _ in range(2):
        assert lanes.redrive(row, SELF)
        round.run()
    assert receiver.ids.count(f"msg_{row.pk.hex}") == 3
    assert AuditEntry.objects.filter(action="delivery.redriven").count() == 2


def test_a_foreign_secret_key_is_an_error_on_the_row(project: Project, receiver: Receiver, settings: Any) -> None:
    add(project, receiver.url)
    happen(project, "approval_requested")
    settings.SECRET_KEY = "another"
    round.run()
    assert "SECRET_KEY" in Delivery.objects.get().last_error
    assert receiver.got == []


def test_an_asked_pause_is_kept(project: Project, receiver: Receiver) -> None:
    webhook, _ = add(project, receiver.url)

    def wait_for_me(handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(429)
        handler.send_header("Retry-After", "600")
        handler.send_header("Content-Length", "0")
        handler.end_headers()

    receiver.answers = [wait_for_me]
    happen(project, "approval_requested")
    round.run()
    paused = Lane.objects.get(name=webhook.lane).paused_until
    assert paused - read_database_clock() > timedelta(seconds=590)
