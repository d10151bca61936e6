"""Quarantine: kept as it came, validated again on the way back, once, with its id, and audited."""

from __future__ import annotations

import json
from typing import Any
from uuid import UUID, uuid4

import pytest
from pytest_django import DjangoAssertNumQueries

from accounts.actors import Actor
from core.web.problems import Problem
from ledger.models import AuditEntry, Event
from mailbox import claims, delivery, quarantine
from mailbox.models import Message, Quarantined
from tests.mailbox.conftest import task
from wardroom.strict import StrictJSONError

pytestmark = pytest.mark.django_db
STAFF = Actor.system("tests")
GOOD = json.dumps({"id": "one", "message_kind": "task", "body": "do it", "address": "desk"}).encode()


def spent(project: Any) -> Quarantined:
    """A message that was tried too often."""
    delivery.deliver(project, "desk", [task("heavy", id="one", correlation_id="c", sender_role="boss")])
    for _ in range(5):
        claim = claims.drain(project, "desk")
        claims.nack(project, "desk", claim.token, ["one"])
    return Quarantined.objects.get()


def test_any_bytes_are_kept_as_they_came(project: UUID) -> None:
    raw = bytes(range(256)) * 3
    row = quarantine.put(project, raw, "amqp", "not UTF-8", position=128, address="a\0b" + "x" * 300)
    row.refresh_from_db()
    assert (bytes(row.raw), row.size, row.position, row.state) == (raw, 768, 128, "waiting")
    assert Event.objects.get().type == "message_quarantined"


def test_the_same_thing_of_a_source_is_kept_once(project: UUID) -> None:
    rows = {quarantine.put(project, b"x", "maildir", "why", source_ref="new/1").pk for _ in range(2)}
    assert len(rows) == 1


def test_a_requeued_message_keeps_its_id_and_arrives(project: UUID) -> None:
    row = quarantine.put(project, GOOD, "amqp", "a bad day", message_id="one")
    quarantine.requeue(row.pk, STAFF)
    claim = claims.drain(project, "desk")
    assert [(m.message_id, m.body, m.claimed_sender) for m in claim.messages] == [("one", "do it", True)]


def test_a_list_reads_the_beginning_of_what_is_kept_and_no_more(
    project: UUID, django_assert_num_queries: DjangoAssertNumQueries
) -> None:
    quarantine.put(project, b"x" * 500_000, "amqp", "odd")
    with django_assert_num_queries(1):
        row = Quarantined.objects.with_preview(100).get()
        assert bytes(row.preview) == b"x" * 100  # type: ignore[attr-defined]
    assert "raw" in row.get_deferred_fields()


def test_bytes_beyond_the_limit_are_cut_and_are_never_taken_for_a_message(project: UUID) -> None:
    raw = GOOD + b" " * (2 * quarantine.most_bytes())
    row = quarantine.put(project, raw, "amqp", "r" * 10_000, size=2**40)
    row.refresh_from_db()
    assert (len(bytes(row.raw)), row.size) == (quarantine.most_bytes(), 2**31 - 1)
    assert len(row.reason) < 10_000
    with pytest.raises(StrictJSONError):
        quarantine.requeue(row.pk, STAFF)


def test_a_message_that_is_deep_and_long_comes_back_from_quarantine(project: UUID) -> None:
    body = {"deep": [0] * 60_000}
    for _ in range(60):
        body = {"k": body}
    delivery.deliver(project, "desk", [task(body, id="one")])
    for _ in range(5):
        claims.nack(project, "desk", claims.drain(project, "desk").token, ["one"])
    row = Quarantined.objects.get()
    assert row.size < 300_000
    quarantine.requeue(row.pk, STAFF)
    assert claims.drain(project, "desk").messages[0].body == body


def test_twice_is_once(project: UUID) -> None:
    row = quarantine.put(project, GOOD, "amqp", "a bad day")
    first, again = quarantine.requeue(row.pk, STAFF), quarantine.requeue(row.pk, STAFF)
    assert first.settled_at == again.settled_at
    assert Message.objects.count() == 1
    assert AuditEntry.objects.filter(action="quarantine.requeued").count() == 1


def test_an_edited_copy_goes_in_and_the_raw_bytes_stay(project: UUID) -> None:
    row = quarantine.put(project, b'{"message_kind": "task", "body": ', "amqp", "cut off", address="desk")
    quarantine.requeue(row.pk, STAFF, b'{"message_kind": "task", "body": "mended"}')
    assert claims.drain(project, "desk").messages[0].body == "mended"
    row.refresh_from_db()
    assert bytes(row.raw).endswith(b'"body": ')
    assert json.loads(AuditEntry.objects.get().detail)["edited"] is True


@pytest.mark.parametrize(
    "raw",
    [b"{", b"[]", b'{"message_kind": "gossip", "body": 1}', b'{"message_kind":"task","body":"a","body":"b"}', b"\xff"],
)
def test_what_still_cannot_be_read_stays_where_it_is(project: UUID, raw: bytes) -> None:
    row = quarantine.put(project, raw, "amqp", "broken", address="desk")
    with pytest.raises((Problem, StrictJSONError)):
        quarantine.requeue(row.pk, STAFF)
    row.refresh_from_db()
    assert row.state == "waiting"
    assert not Message.objects.exists()
    assert not AuditEntry.objects.exists()


def test_an_id_that_is_known_cannot_be_edited_away(project: UUID) -> None:
    row = quarantine.put(project, GOOD, "amqp", "why", message_id="one")
    with pytest.raises(Problem, match="id is kept"):
        quarantine.requeue(row.pk, STAFF, GOOD.replace(b'"one"', b'"two"'))


def test_an_address_that_is_not_known_must_be_said(project: UUID) -> None:
    row = quarantine.put(project, b'{"message_kind": "task", "body": "x"}', "amqp", "why")
    with pytest.raises(Problem, match="not known"):
        quarantine.requeue(row.pk, STAFF)
    quarantine.requeue(row.pk, STAFF, address="desk")
    assert not delivery.is_empty(project, "desk")


def test_a_spent_message_goes_back_to_its_own_row_as_if_never_tried(project: UUID) -> None:
    row = spent(project)
    quarantine.requeue(row.pk, STAFF)
    message = claims.drain(project, "desk").messages[0]
    assert (message.message_id, message.seq, message.tries) == ("one", 1, 1)
    assert (message.sender_role, message.correlation_id) == ("boss", "c")
    assert delivery.deliver(project, "desk", [task("heavy", id="one", correlation_id="c", sender_role="boss")])[
        0
    ].duplicate


def test_a_spent_message_can_be_mended(project: UUID) -> None:
    row = spent(project)
    raw = json.loads(bytes(row.raw)) | {"body": "lighter"}
    quarantine.requeue(row.pk, STAFF, json.dumps(raw).encode())
    assert claims.drain(project, "desk").messages[0].body == "lighter"


def test_it_can_be_spent_again(project: UUID) -> None:
    quarantine.requeue(spent(project).pk, STAFF)
    for _ in range(5):
        claim = claims.drain(project, "desk")
        claims.nack(project, "desk", claim.token, ["one"])
    assert Quarantined.objects.filter(state="waiting").count() == 1


def test_a_discarded_one_needs_a_note_and_stays_discarded(project: UUID) -> None:
    row = quarantine.put(project, GOOD, "amqp", "why")
    with pytest.raises(Problem):
        quarantine.discard(row.pk, STAFF, "  ")
    quarantine.discard(row.pk, STAFF, "spam")
    quarantine.discard(row.pk, STAFF, "spam, again")
    with pytest.raises(Problem) as refusal:
        quarantine.requeue(row.pk, STAFF)
    assert refusal.value.status == 409
    row.refresh_from_db()
    assert (row.state, row.note) == ("discarded", "spam")
    assert AuditEntry.objects.get().action == "quarantine.discarded"


def test_a_foreign_one_does_not_exist(project: UUID, foreign: UUID) -> None:
    row = quarantine.put(project, GOOD, "amqp", "why")
    for call in (
        lambda: quarantine.requeue(row.pk, STAFF, project_id=foreign),
        lambda: quarantine.discard(row.pk, STAFF, "mine now", project_id=foreign),
        lambda: quarantine.requeue(uuid4(), STAFF),
    ):
        with pytest.raises(Problem) as refusal:
            call()
        assert refusal.value.status == 404
    row.refresh_from_db()
    assert row.state == "waiting"
