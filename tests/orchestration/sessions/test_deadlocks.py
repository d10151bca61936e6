"""Operations that write to many mailboxes beside deliveries that do: neither waits for the other crosswise."""

from __future__ import annotations

import functools
import threading
from collections.abc import Callable
from typing import Any
from uuid import UUID

import pytest
from django.db import connection

from accounts import scopes
from ledger import unit_of_work
from mailbox import delivery
from mailbox.envelope import NewMessage
from mailbox.models import Message
from orchestration.models import Session
from orchestration.sessions import cancel as session_cancel
from orchestration.states import TERMINAL
from tests.orchestration import stages
from tests.orchestration.conftest import Caller
from tests.orchestration.sessions.test_races import race
from tests.waiting import wait_until

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.timeout(120)]


def task(number: int = 0) -> NewMessage:
    return NewMessage(message_kind="task", body={"text": f"number {number}"})


def is_waiting_for_a_lock() -> bool:
    with connection.cursor() as cursor:
        cursor.execute("SELECT count(*) FROM pg_locks WHERE NOT granted")
        return bool(cursor.fetchone()[0])


def chain() -> tuple[Session, Session, Session]:
    """Three sessions that do not run; the address of the topmost comes before that of the one below it."""
    while True:
        top = stages.queued()
        middle = stages.queued(parent=top.pk)
        if top.address < middle.address:
            return top, middle, stages.queued(parent=middle.pk)


def test_a_cancel_takes_its_addresses_as_a_delivery_does(key: Caller, backend: str) -> None:
    """Without one order the cancel would hold the deeper address and wait for the other, the delivery conversely."""
    top, middle, leaf = chain()
    client = key(only=[*scopes.ALL])
    delivering, cancelling = threading.Event(), threading.Event()

    def deliver() -> int:
        with unit_of_work.transaction():
            delivery.deliver(top.project_id, top.address, [task()])
            delivering.set()
            assert cancelling.wait(30)
            if backend == "postgres":
                wait_until(is_waiting_for_a_lock)
            delivery.deliver(top.project_id, middle.address, [task()])
        return 200

    def cancel() -> int:
        assert delivering.wait(30)
        cancelling.set()
        client.raise_request_exception = False
        answer: int = client.post(f"/api/v1/sessions/{top.pk}/cancel", {"reason": "enough"}, format="json").status_code
        return answer

    assert race(deliver, cancel) == [200, 200]
    assert {stages.again(session).status for session in (top, middle, leaf)} == {"cancelled"}
    kinds = Message.objects.values_list("address__name", "message_kind").order_by("address__name", "message_kind")
    assert list(kinds) == [
        (top.address, "completion"),
        (top.address, "task"),
        (middle.address, "completion"),
        (middle.address, "task"),
    ]


def test_trees_are_cancelled_while_everybody_in_them_is_written_to() -> None:
    """Every answered message, end and completion is stored once."""
    rounds, writers = 12, 3
    accepted: list[str] = []

    def write(sessions: list[Session], done: threading.Event) -> None:
        turn = 0
        while not done.is_set() or turn == 0:
            batch: list[tuple[str, NewMessage | Any]] = [(session.address, task(turn)) for session in sessions]
            outcomes = delivery.deliver_each_to(sessions[0].project_id, batch)
            accepted.extend(outcome.id for outcome in outcomes if isinstance(outcome, delivery.Delivered))
            turn += 1

    for _ in range(rounds):
        top = stages.queued()
        middles = [stages.queued(parent=top.pk) for _ in range(3)]
        leaves = [stages.queued(parent=middle.pk) for middle in middles for _ in range(2)]
        tree, done = [top, *middles, *leaves], threading.Event()

        def cancel(pk: UUID = top.pk, done: threading.Event = done) -> None:
            try:
                session_cancel.cancel(stages.project(), pk, "enough", stages.ACTOR)
            finally:
                done.set()

        calls: list[Callable[[], Any]] = [functools.partial(write, tree, done)] * writers
        race(*calls, cancel)
        assert not Session.objects.filter(root=top.pk).exclude(status__in=sorted(TERMINAL)).exists()
        assert Message.objects.filter(address__name=top.address, message_kind="completion").count() == 3
        below = Message.objects.filter(address__name__in=[m.address for m in middles], message_kind="completion")
        assert below.count() == 6
    assert Message.objects.filter(message_id__in=accepted).count() == len(set(accepted)) == len(accepted)
