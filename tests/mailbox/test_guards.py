"""Guards of the mailbox that the tests of its operations leave aside."""

from __future__ import annotations

import uuid
from typing import Any
from uuid import UUID, uuid4

import pytest

from accounts.actors import Actor
from core.web.problems import Problem
from ledger import wakeups
from ledger.models import Event
from mailbox import claims, delivery, quarantine
from mailbox.addresses import ANSWERS, session_address
from mailbox.claims import Claim
from mailbox.envelope import NewMessage
from mailbox.models import Message, Quarantined, Waiting
from mailbox.states import QuarantineState
from tests.mailbox.conftest import task

pytestmark = pytest.mark.django_db
STAFF = Actor.system("tests")


def ids(claim: Claim) -> list[str]:
    return [message.message_id for message in claim.messages]


def spend(project: UUID, *names: str) -> None:
    """Use up the tries of these messages, which wait at the desk."""
    for _ in range(5):
        claims.nack(project, "desk", claims.drain(project, "desk"), names)


def test_a_drain_takes_no_more_than_the_most(project: UUID, monkeypatch: pytest.MonkeyPatch) -> None:
    delivery.deliver(project, "desk", [task(id=name) for name in "abc"])
    monkeypatch.setattr(claims, "MOST", 2)
    claim = claims.drain(project, "desk", limit=3)
    assert ids(claim) == ["a", "b"]
    monkeypatch.setattr(claims, "MOST", 0)
    assert claims.ack_and_claim(project, "desk", claim, limit=1).messages == []


def test_an_id_that_another_project_uses_too_is_settled_in_its_own(project: UUID, foreign: UUID) -> None:
    for owner in (project, foreign):
        delivery.deliver(owner, "desk", [task(id="same")])
    for owner in (project, foreign):
        assert claims.ack(owner, "desk", claims.drain(owner, "desk").token, ["same"]).done == ["same"]


@pytest.mark.parametrize("id", [".", ".."])
def test_an_ask_whose_own_address_no_client_could_call_is_refused(project: UUID, id: str) -> None:
    ask = NewMessage(message_kind="ask", body={"question": "why?", "mode": "query"}, id=id)
    with pytest.raises(Problem) as refusal:
        delivery.deliver(project, "desk", [ask])
    assert [error["field"] for error in refusal.value.extra["errors"]] == ["id"]
    delivery.deliver(project, "desk", [task(id=id)])


@pytest.mark.parametrize("address", [session_address(UUID(int=1)), ANSWERS])
def test_no_claim_goes_on_at_a_reserved_address(project: UUID, address: str) -> None:
    delivery.deliver(project, "desk", [task()])
    claim = claims.drain(project, "desk")
    with pytest.raises(Problem) as refusal:
        claims.ack_and_claim(project, address, claim)
    assert refusal.value.status == 403
    assert claims.ack(project, "desk", claim).unknown == []


def test_spent_messages_are_quarantined_in_their_order(project: UUID) -> None:
    delivery.deliver(project, "desk", [task(id=name) for name in "abc"])
    spend(project, *"abc")
    told = Event.objects.filter(type="message_quarantined").order_by("cursor")
    assert [event.payload["message_id"] for event in told] == ["a", "b", "c"]


@pytest.fixture
def woken(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The topics that are published after a commit."""
    topics: list[str] = []
    monkeypatch.setattr(wakeups, "publish", lambda some: topics.extend(some) or True)
    return topics


@pytest.mark.django_db(transaction=True)
def test_each_way_back_wakes_the_readers_of_the_address(
    transactional_db: None, project: UUID, woken: list[str], timings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    desk = f"mailbox:{project}:desk"
    delivery.deliver(project, "desk", [task(id=name) for name in "ab"])
    claim = claims.drain(project, "desk", consumer="me")
    woken.clear()
    claims.nack(project, "desk", claim, ["a"], delay_secs=60)
    assert woken == [], "nobody can take it yet"
    claims.nack(project, "desk", claim, ["b"])
    assert woken == [desk]
    Waiting.objects.update(due_at=None)
    claims.drain(project, "desk", consumer="me")
    woken.clear()
    monkeypatch.setattr(claims, "MOST", 1)
    assert ids(claims.recover(project, "desk", lease_secs=60, consumer="me")) == ["a"]
    assert woken == [desk], "the other one is free again"
    Waiting.objects.filter(state="claimed").update(claim_expires_at="2020-01-01T00:00Z")
    woken.clear()
    assert claims.expire_due() == 1
    assert woken == [desk]


@pytest.mark.parametrize("claimed", [True, False])
def test_what_comes_back_from_quarantine_is_still_the_message_of_its_sender(project: UUID, claimed: bool) -> None:
    sent = task(id="one", sender_role="boss", claimed_sender=claimed)
    delivery.deliver(project, "desk", [sent])
    spend(project, "one")
    quarantine.requeue(Quarantined.objects.get().pk, STAFF)
    assert delivery.deliver(project, "desk", [sent])[0].duplicate
    assert claims.drain(project, "desk").messages[0].claimed_sender is claimed


def test_a_spent_message_goes_back_to_its_own_address_whatever_is_named(project: UUID) -> None:
    delivery.deliver(project, "desk", [task(id="one")])
    spend(project, "one")
    row = quarantine.requeue(Quarantined.objects.get().pk, STAFF, address="shelf")
    assert row.address == "desk"
    assert ids(claims.drain(project, "desk")) == ["one"]


def test_an_address_that_is_no_text_is_refused(project: UUID) -> None:
    row = quarantine.put(project, b'{"message_kind": "task", "body": "x", "address": 5}', "amqp", "why")
    with pytest.raises(Problem, match="address is not known"):
        quarantine.requeue(row.pk, STAFF)


def test_a_message_without_an_id_gets_that_of_its_quarantine(project: UUID) -> None:
    row = quarantine.put(project, b'{"message_kind": "task", "body": "x"}', "amqp", "why", address="desk")
    quarantine.requeue(row.pk, STAFF)
    assert Message.objects.get().message_id == str(uuid.uuid5(row.pk, "requeued"))


def test_who_may_not_steer_requeues_nothing_to_a_session(project: UUID, django_user_model: Any) -> None:
    clerk = Actor.of_user(django_user_model.objects.create_user("clerk"))
    row = quarantine.put(project, b'{"message_kind": "task", "body": "x"}', "amqp", "why")
    with pytest.raises(Problem) as refusal:
        quarantine.requeue(row.pk, clerk, address=session_address(uuid4()))
    assert refusal.value.status == 403
    row.refresh_from_db()
    assert (row.state, Message.objects.count()) == (QuarantineState.WAITING, 0)


def test_deleting_settled_rows_spares_what_waits_in_quarantine_and_the_message_that_came_back(project: UUID) -> None:
    waiting = quarantine.put(project, b"broken", "amqp", "why")
    delivery.deliver(project, "desk", [task(id="one")])
    spend(project, "one")
    row = Quarantined.objects.get(message_id="one")
    quarantine.requeue(row.pk, STAFF)
    assert quarantine.forget([waiting.pk, row.pk]) == 1
    assert Quarantined.objects.get() == waiting
    assert ids(claims.drain(project, "desk")) == ["one"]


def test_a_discarded_message_goes_with_the_last_of_its_rows(project: UUID) -> None:
    delivery.deliver(project, "desk", [task(id="one")])
    spend(project, "one")
    first = Quarantined.objects.get()
    quarantine.requeue(first.pk, STAFF)
    spend(project, "one")
    second = Quarantined.objects.get(state=QuarantineState.WAITING)
    quarantine.discard(second.pk, STAFF, "hopeless")
    quarantine.forget([second.pk])
    assert Message.objects.filter(dead_lettered=True).count() == 1
    quarantine.forget([first.pk])
    assert not Message.objects.exists()
