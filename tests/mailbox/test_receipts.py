"""An acknowledgement leaves one receipt, and is recognised by it until both are deleted."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

from core.db.clock import clock_at
from mailbox import claims, delivery, session_inbox
from mailbox.addresses import session_address
from mailbox.models import Message, Receipt, Waiting
from mailbox.store import receipts
from tests.mailbox.conftest import task
from tests.mailbox.faces import Caller, Django

pytestmark = pytest.mark.django_db
NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)


def after(secs: Any) -> Any:
    return NOON + timedelta(seconds=secs)


def fill(project: Any, count: int = 3, address: str = "desk") -> list[Any]:
    with clock_at(NOON):
        return [each.id for each in delivery.deliver(project, address, [task(str(n)) for n in range(count)])]


def test_one_receipt_for_all_that_an_ack_took_and_nothing_waits(project: UUID) -> None:
    ids = fill(project)
    with clock_at(NOON):
        claim = claims.drain(project, "desk")
    with clock_at(after(7)):
        claims.ack(project, "desk", claim, ids[1:])
    assert list(Waiting.objects.values_list("seq", flat=True)) == [1]
    [receipt] = Receipt.objects.all()
    assert (receipt.claim, receipt.admitted_at) == (claim.token, after(7))
    assert (receipt.first_seq, receipt.last_seq, receipt.taken) == (2, 3, {"2": 1, "3": 1})


def test_what_changes_nothing_leaves_no_receipt(project: UUID) -> None:
    ids = fill(project)
    with clock_at(NOON):
        claim = claims.drain(project, "desk", lease_secs=30)
    with clock_at(after(31)):
        claims.ack(project, "desk", claim)
    with clock_at(NOON):
        claims.ack(project, "desk", claim, [])
    assert not Receipt.objects.exists()
    for _ in range(2):
        with clock_at(after(1)):
            assert claims.ack(project, "desk", claim, ids).done == ids
    assert Receipt.objects.count() == 1


def test_an_ack_in_parts_is_known_again_by_its_claim_alone(project: UUID) -> None:
    ids = fill(project, 4)
    with clock_at(NOON):
        mine = claims.drain(project, "desk", 3)
        other = claims.drain(project, "desk", 1)
    for part in (ids[2:3], ids[:1]):
        with clock_at(after(1)):
            claims.ack(project, "desk", mine.token, part)
    with clock_at(after(1)):
        claims.ack(project, "desk", other)
    with clock_at(after(3600)):
        again = claims.ack(project, "desk", mine.token, [ids[0], ids[2], ids[3]])
    assert again == claims.Settled([ids[0], ids[2]], [ids[3]])


def test_an_admitted_message_says_when_after_how_many_tries_and_for_which_attempt(project: UUID) -> None:
    fill(project, 2)
    with clock_at(NOON):
        claims.drain(project, "desk", 1, lease_secs=10)
    with clock_at(after(11)):
        claim = claims.drain(project, "desk")
    with clock_at(after(12)):
        claims.ack(project, "desk", claim)
    first, second = Message.objects.order_by("seq")
    assert (first.state, first.tries, first.admitted_at) == ("admitted", 2, after(12))
    assert (second.tries, second.admitted_attempt) == (1, None)
    address = session_address("11111111-1111-4111-8111-111111111111")
    delivery.deliver(project, address, [task("steer", id="s")])
    with clock_at(after(13)):
        session_inbox.admit(project, address, ["s"], 3)
    read = Message.objects.get(message_id="s")
    assert (read.state, read.admitted_at, read.admitted_attempt) == ("admitted", after(13), 3)


def test_a_list_asks_once_for_all_its_receipts(project: UUID) -> None:
    caller = Caller(Django(), project, scopes={"mailboxes:read"})

    def asked(count: int) -> Any:
        fill(project, count)
        for _ in range(count):
            claims.ack(project, "desk", claims.drain(project, "desk", 1))
        with CaptureQueriesContext(connection) as queries:
            listed = caller.get("/api/v1/mailboxes/desk/messages").json()["results"]
        assert {each["tries"] for each in listed} == {1} and {each["state"] for each in listed} == {"admitted"}
        return sum("mailbox_" in query["sql"] for query in queries)

    assert asked(2) == asked(9)


def test_the_admins_list_asks_once_for_all_its_receipts(project: UUID, admin_client: Client) -> None:
    def asked(count: int) -> Any:
        fill(project, count)
        for _ in range(count):
            claims.ack(project, "desk", claims.drain(project, "desk", 1))
        with CaptureQueriesContext(connection) as queries:
            page = admin_client.get("/admin/mailbox/message/").content.decode()
        assert page.count('<td class="field-spent">1</td>') == Message.objects.count()
        return sum("mailbox_" in query["sql"] for query in queries)

    assert asked(2) == asked(9)


def test_letting_go_takes_the_oldest_in_bounded_steps_and_nothing_that_is_young_or_waits(project: UUID) -> None:
    ids = fill(project, 8)
    for day in range(3):
        when = after(86400 * day)
        with clock_at(when):
            claims.ack(project, "desk", claims.drain(project, "desk", 2))
    moment = after(86400 + 1)
    assert receipts.forget(receipts.due(moment, 2)) == 2
    assert set(Message.objects.values_list("message_id", flat=True)) == set(ids[2:])
    assert receipts.forget(receipts.due(moment, 500)) == 2
    assert receipts.forget(receipts.due(moment, 500)) == 0
    assert set(Message.objects.values_list("message_id", flat=True)) == set(ids[4:])
    assert (Receipt.objects.count(), Waiting.objects.count()) == (1, 2)


def test_a_message_that_still_waits_is_not_deleted_whatever_a_receipt_says(project: UUID) -> None:
    ids = fill(project, 2)
    with clock_at(NOON):
        claims.ack(project, "desk", claims.drain(project, "desk", 1))
    Receipt.objects.update(taken={"1": 1, "2": 1}, last_seq=2)
    receipts.forget([Receipt.objects.get().pk])
    assert list(Message.objects.values_list("message_id", flat=True)) == ids[1:]
    assert [row.message_id for row in claims.drain(project, "desk").messages] == ids[1:]
