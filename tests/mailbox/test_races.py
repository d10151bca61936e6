"""Several at once, on real connections: one winner, nothing twice, nothing out of order."""

from __future__ import annotations

from concurrent.futures import wait
from threading import Event
from typing import Any
from uuid import UUID, uuid4

import pytest

from accounts import projects
from accounts.actors import Actor
from core.web.problems import Problem
from ledger import unit_of_work
from ledger.models import AuditEntry
from mailbox import claims, delivery, quarantine, session_inbox
from mailbox.addresses import session_address
from mailbox.models import Message, Quarantined, Waiting
from tests.mailbox.concurrently import at_once, concurrently
from tests.mailbox.conftest import task
from tests.waiting import wait_until

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.timeout(90)]


@pytest.fixture
def project(transactional_db: None) -> Any:
    return projects.default().pk


def test_sixty_four_senders_of_one_message_make_one_row(project: UUID) -> None:
    def send(number: int) -> Any:
        return delivery.deliver(project, "desk", [task("a", id="one")])[0]

    answers = at_once(64, send)
    assert len({(each.id, each.seq) for each in answers}) == 1
    assert [each.duplicate for each in answers].count(False) == 1
    assert Message.objects.count() == 1


def test_of_many_messages_that_claim_one_id_one_wins_and_the_others_are_told(project: UUID) -> None:
    def send(number: int) -> Any:
        try:
            return delivery.deliver(project, f"desk-{number % 4}", [task(str(number), id="one")])[0].duplicate
        except Problem as refusal:
            return refusal.type

    assert sorted(map(str, at_once(16, send))) == ["False", *["conflict"] * 15]
    assert Message.objects.count() == 1


def test_a_commit_that_becomes_visible_late_is_not_overtaken(project: UUID) -> None:
    address = session_address(uuid4())
    begun, finish = Event(), Event()

    def slow() -> None:
        with unit_of_work.transaction():
            delivery.deliver(project, address, [task("first")])
            begun.set()
            assert finish.wait(30)

    with concurrently(2) as call:
        first = call(slow)
        assert begun.wait(30)
        second = call(delivery.deliver, project, address, [task("second")])
        wait([second], timeout=0.5)
        seen = session_inbox.unadmitted(project, address)
        finish.set()
        first.result(30), second.result(30)
    assert seen == []
    assert [row.body for row in session_inbox.unadmitted(project, address)] == ["first", "second"]


def test_a_reader_with_a_cursor_skips_nothing_while_many_write(project: UUID) -> None:
    address = session_address(uuid4())
    writers, each = 8, 25
    done = Event()

    def write(number: int) -> None:
        for turn in range(each):
            delivery.deliver(project, address, [task(f"{number}/{turn}")])

    def read() -> Any:
        seen, after = [], 0
        while True:
            last = done.is_set()
            rows = session_inbox.unadmitted(project, address, after_seq=after, limit=7)
            seen += [row.body for row in rows]
            after = rows[-1].seq if rows else after
            if last and not rows:
                return seen

    with concurrently(writers + 1) as call:
        reader = call(read)
        for writer in [call(write, number) for number in range(writers)]:
            writer.result(60)
        done.set()
        seen = reader.result(60)
    assert len(seen) == len(set(seen)) == writers * each
    for number in range(writers):
        mine = [body for body in seen if body.startswith(f"{number}/")]
        assert mine == [f"{number}/{turn}" for turn in range(each)]


def test_two_drains_never_hold_the_same_message(project: UUID) -> None:
    delivery.deliver(project, "desk", [task(str(number)) for number in range(200)])

    def take(number: int) -> Any:
        taken = []
        while claim := claims.drain(project, "desk", limit=7).messages:
            taken += [row.message_id for row in claim]
        return taken

    taken = [each for one in at_once(8, take) for each in one]
    assert len(taken) == len(set(taken)) == 200
    assert set(Waiting.objects.values_list("tries", flat=True)) == {1}


def test_a_drain_does_not_overtake_one_that_may_yet_be_undone(project: UUID) -> None:
    delivery.deliver(project, "desk", [task(str(number)) for number in range(4)])
    begun, finish = Event(), Event()

    class Undone(Exception):
        pass

    def undone() -> None:
        with pytest.raises(Undone), unit_of_work.transaction():
            claims.drain(project, "desk", limit=2)
            begun.set()
            assert finish.wait(30)
            raise Undone

    with concurrently(2) as call:
        first = call(undone)
        assert begun.wait(30)
        second = call(claims.drain, project, "desk", 2)
        wait([second], timeout=0.5)
        finish.set()
        first.result(30)
        assert [row.body for row in second.result(30).messages] == ["0", "1"]


def test_whoever_waited_for_a_drain_gets_what_follows_it(project: UUID) -> None:
    delivery.deliver(project, "desk", [task(str(number)) for number in range(4)])
    begun, finish = Event(), Event()

    def slow() -> Any:
        with unit_of_work.transaction():
            claim = claims.drain(project, "desk", limit=2)
            begun.set()
            assert finish.wait(30)
        return claim

    with concurrently(2) as call:
        first = call(slow)
        assert begun.wait(30)
        second = call(claims.drain, project, "desk", 2)
        wait([second], timeout=0.3)
        finish.set()
        got = [[row.body for row in each.result(30).messages] for each in (first, second)]
    assert got == [["0", "1"], ["2", "3"]]


def test_an_ack_and_a_recover_at_once_cannot_both_have_it(project: UUID) -> None:
    for turn in range(10):
        address = f"desk-{turn}"
        [sent] = delivery.deliver(project, address, [task()])
        claim = claims.drain(project, address, consumer="me")

        def race(number: int, address: Any = address, sent: Any = sent, claim: Any = claim) -> Any:
            if number:
                return claims.recover(project, address, consumer="me").messages
            return claims.ack(project, address, claim.token, [sent.id]).done

        acked, recovered = at_once(2, race)
        assert bool(acked) != bool(recovered)


def test_a_message_is_admitted_by_one_of_many(project: UUID) -> None:
    address = session_address(uuid4())
    ids = [each.id for each in delivery.deliver(project, address, [task(str(n)) for n in range(20)])]
    admitted = at_once(8, lambda number: session_inbox.admit(project, address, ids, attempt=number + 1))
    assert sorted(each for one in admitted for each in one) == sorted(ids)


def test_sweeps_side_by_side_bring_each_message_back_once(project: UUID) -> None:
    ids = [each.id for each in delivery.deliver(project, "desk", [task(str(n)) for n in range(50)])]
    claims.drain(project, "desk", lease_secs=0.001)
    counted = []
    wait_until(lambda: counted.append(sum(at_once(4, lambda number: claims.expire_due()))) or sum(counted))
    assert sum(counted) == len(ids)


def test_a_spent_message_is_quarantined_once_by_sweeps_side_by_side(project: UUID, timings: Any) -> None:
    timings(claim_tries=1)
    delivery.deliver(project, "desk", [task(str(n)) for n in range(10)])
    claims.drain(project, "desk", lease_secs=0.001)
    at_once(6, lambda number: claims.expire_due())
    claims.expire_due()
    assert Quarantined.objects.count() == 10


def test_many_requeue_one_and_it_arrives_once(project: UUID) -> None:
    row = quarantine.put(project, b'{"message_kind": "task", "body": "x", "address": "desk"}', "amqp", "why")
    at_once(8, lambda number: quarantine.requeue(row.pk, Actor.system(f"clerk {number}")))
    assert Message.objects.count() == 1
    assert AuditEntry.objects.count() == 1


def test_requeue_and_discard_at_once_end_one_way(project: UUID) -> None:
    row = quarantine.put(project, b'{"message_kind": "task", "body": "x", "address": "desk"}', "amqp", "why")

    def settle(number: int) -> Any:
        try:
            if number % 2:
                return quarantine.requeue(row.pk, Actor.system("a")).state
            return quarantine.discard(row.pk, Actor.system("b"), "no").state
        except Problem as refusal:
            return refusal.extra["state"]

    assert len(set(at_once(8, settle))) == 1
    row.refresh_from_db()
    assert Message.objects.count() == (1 if row.state == "requeued" else 0)
