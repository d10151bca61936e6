"""Task messages to the workers: bounded while the broker is away or hangs, and sent again by the sweep."""

from __future__ import annotations

import socket
import time
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest
from celery import current_app

from core.db.clock import clock_at
from ledger.models import OutboxEntry
from orchestration.sessions import dispatch
from tests.orchestration import stages

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture(autouse=True)
def _no_brake(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dispatch, "_silent_until", 0.0)


@pytest.fixture
def silent_broker(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """It takes connections and never says a word."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        url = f"redis://127.0.0.1:{server.getsockname()[1]}/0"
        real = current_app.connection_for_write
        monkeypatch.setattr(current_app, "connection_for_write", lambda **options: real(url, **options))
        yield


def owed() -> Any:
    return OutboxEntry.objects.get(kind=dispatch.LAUNCH)


def test_a_hint_goes_out_with_the_commit_and_is_no_longer_owed() -> None:
    stages.queued()
    assert owed().sent_at
    with clock_at(owed().due_at + timedelta(seconds=6)):
        assert dispatch.sweep() == 0


def test_a_broker_that_hangs_holds_nobody_for_long_and_leaves_the_hint_owed(silent_broker: None) -> None:
    began = time.monotonic()
    stages.queued()
    assert time.monotonic() - began < 8
    assert (owed().sent_at, owed().tries) == (None, 1)
    assert owed().last_error
    second = stages.queued()
    (entry,) = OutboxEntry.objects.filter(kind=dispatch.LAUNCH, payload__session=str(second.pk))
    assert (entry.sent_at, entry.tries) == (None, 0), "after a failure nothing is tried for some seconds"


def test_the_sweeper_sends_what_was_not_sent(silent_broker: None, monkeypatch: pytest.MonkeyPatch) -> None:
    stages.queued()
    monkeypatch.undo()
    monkeypatch.setattr(dispatch, "_silent_until", 0.0)
    since = owed().due_at
    with clock_at(since + timedelta(seconds=4)):
        assert dispatch.sweep() == 0, "a fresh one may still be on its way"
    with clock_at(since + timedelta(seconds=6)):
        assert dispatch.sweep() == 1
    assert owed().sent_at
