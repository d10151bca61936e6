"""Expired claims: the addresses and rows that the sweep and a recovery take."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from uuid import UUID

import pytest

from core.db.clock import clock_at
from mailbox import claims, delivery
from mailbox.models import Waiting
from tests.mailbox.conftest import task

pytestmark = pytest.mark.django_db
NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)


def after(secs: float) -> datetime:
    return NOON + timedelta(seconds=secs)


def claim(project: UUID, address: str, lease_secs: float) -> None:
    with clock_at(NOON):
        delivery.deliver(project, address, [task(address)])
        assert claims.drain(project, address, lease_secs=lease_secs).messages


def test_addresses_with_live_claims_take_no_place_in_a_round(project: UUID) -> None:
    for number in range(3):
        claim(project, f"live-{number}", 90)
    claim(project, "overdue", 30)
    with clock_at(after(31)):
        assert claims.expire_due(limit=1) == 1
    assert Waiting.objects.get(state="new").address.name == "overdue"


def test_a_recovery_of_more_than_the_most_takes_the_oldest(project: UUID, monkeypatch: pytest.MonkeyPatch) -> None:
    delivery.deliver(project, "desk", [task(str(number)) for number in range(4)])
    claims.drain(project, "desk", consumer="me")
    monkeypatch.setattr(claims, "MOST", 2)
    recovered = claims.recover(project, "desk", consumer="me")
    assert [message.body for message in recovered.messages] == ["0", "1"]
