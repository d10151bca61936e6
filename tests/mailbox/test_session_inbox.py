"""A session's mailbox: sent once on each connection, admitted once."""

from __future__ import annotations

from typing import Any
from uuid import UUID, uuid4

import pytest

from mailbox import delivery, session_inbox
from mailbox.addresses import session_address
from mailbox.models import Message
from tests.mailbox.conftest import task

pytestmark = pytest.mark.django_db


@pytest.fixture
def address() -> Any:
    return session_address(uuid4())


def test_sending_a_message_does_not_admit_it(project: UUID, address: Any) -> None:
    ids = [each.id for each in delivery.deliver(project, address, [task("a"), task("b")])]
    for _ in range(9):
        assert [row.message_id for row in session_inbox.unadmitted(project, address)] == ids


def test_a_connection_goes_on_after_what_it_sent(project: UUID, address: Any) -> None:
    delivery.deliver(project, address, [task(str(n)) for n in range(5)])
    first = session_inbox.unadmitted(project, address, limit=3)
    rest = session_inbox.unadmitted(project, address, after_seq=first[-1].seq)
    assert [row.body for row in first + rest] == ["0", "1", "2", "3", "4"]


def test_a_message_is_admitted_once(project: UUID, address: Any) -> None:
    ids = [each.id for each in delivery.deliver(project, address, [task("a"), task("b")])]
    assert session_inbox.unadmitted(project, address)
    assert session_inbox.admit(project, address, [*ids, "stranger"], attempt=1) == ids
    assert session_inbox.admit(project, address, ids, attempt=2) == []
    assert not session_inbox.unadmitted(project, address)
    assert [row.message_id for row in session_inbox.admissions(project, address)] == ids
    assert {row.admitted_attempt for row in Message.objects.filter(message_id__in=ids)} == {1}


def test_admissions_stand_in_the_order_of_admission_whatever_their_numbers(project: UUID, address: Any) -> None:
    ids = [each.id for each in delivery.deliver(project, address, [task("x" * (n + 1)) for n in range(8)])]
    for some in ([5, 3], [1], [7, 0], [2]):
        session_inbox.admit(project, address, [ids[number] for number in some], attempt=1)
    found = list(session_inbox.admissions(project, address))
    assert [row.message_id for row in found] == [ids[number] for number in (3, 5, 1, 0, 7, 2)]
    assert [row.size for row in found] == [3 + number for number in (3, 5, 1, 0, 7, 2)]
    for place, row in enumerate(found):
        rest = session_inbox.admissions(project, address, row.receipt, row.seq)
        assert list(rest) == found[place + 1 :]


def test_all_admissions_are_read_however_many_receipts_have_them(
    project: UUID, address: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(session_inbox, "RECEIPTS_AT_ONCE", 2)
    ids = [each.id for each in delivery.deliver(project, address, [task(str(n)) for n in range(5)])]
    for each in ids:
        session_inbox.admit(project, address, [each], attempt=1)
    assert [row.message_id for row in session_inbox.admissions(project, address)] == ids


def test_another_address_or_project_admits_nothing(project: UUID, foreign: UUID, address: Any) -> None:
    ids = [each.id for each in delivery.deliver(project, address, [task()])]
    assert session_inbox.admit(project, session_address(uuid4()), ids, attempt=1) == []
    assert session_inbox.admit(foreign, address, ids, attempt=1) == []
    assert session_inbox.unadmitted(foreign, address) == []
    assert len(session_inbox.unadmitted(project, address)) == 1
