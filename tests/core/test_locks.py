"""A lock of PostgreSQL is waited for a bounded time, by calls and jobs alike, also behind a pooler."""

from __future__ import annotations

from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import psycopg
import pytest
from django.db import OperationalError, connection
from django.test import RequestFactory
from rest_framework.parsers import JSONParser
from rest_framework.request import Request
from rest_framework.response import Response

from accounts import credentials, idempotency, projects
from core.db import outages
from ledger import sweeps, unit_of_work
from ledger.models import Head, Sweep
from orchestration.sessions import waits
from tests import people

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def impatient(backend: str, timings: Any) -> Iterator[None]:
    """Connections of PostgreSQL that wait for 0.3 s."""
    if backend != "postgres":
        pytest.skip("SQLite has one lock, and its own timeout")
    timings(write_lock_secs=0.3)
    connection.close()
    yield
    connection.close()


@pytest.fixture
def rival(impatient: None) -> Iterator[Any]:
    """Another connection, in a transaction."""
    connection.ensure_connection()
    params = connection.get_connection_params()
    wanted = {name: params[name] for name in ("dbname", "user", "password", "host", "port") if params.get(name)}
    with psycopg.connect(**wanted) as other:
        yield other
        other.rollback()


def shown(setting: str = "lock_timeout") -> str:
    with connection.cursor() as cursor:
        cursor.execute(f"SHOW {setting}")
        return str(cursor.fetchone()[0])


def test_a_row_that_another_holds_is_an_outage(rival: Any) -> None:
    project = projects.default()
    with unit_of_work.transaction():
        unit_of_work.event(project.pk, "first")
    rival.execute("SELECT 1 FROM ledger_head FOR UPDATE")
    with pytest.raises(OperationalError) as refused, unit_of_work.transaction():
        unit_of_work.event(project.pk, "second")
    assert outages.reason(refused.value) == "another transaction holds a lock of the database"
    rival.rollback()
    with unit_of_work.transaction():
        unit_of_work.event(project.pk, "third")
    assert Head.objects.get(pk=project.pk).cursor == 2


def test_a_job_that_meets_a_held_table_ends_and_says_so(rival: Any) -> None:
    rival.execute("LOCK TABLE orchestration_session IN ACCESS EXCLUSIVE MODE")
    with pytest.raises(OperationalError):
        sweeps.run("waits_sweep", lambda _moment: waits.sweep())
    assert "lock timeout" in Sweep.objects.get(pk="waits_sweep").error
    rival.rollback()
    sweeps.run("waits_sweep", lambda _moment: waits.sweep())
    assert Sweep.objects.get(pk="waits_sweep").error == ""


def test_a_connection_of_the_pool_follows_the_setting(impatient: None, timings: Any) -> None:
    assert shown() == "300ms"
    assert shown("jit") == "off"
    timings(write_lock_secs=7)
    connection.close()
    assert shown() == "7s"


def test_behind_a_pooler_a_call_with_a_key_has_the_bound(
    impatient: None, timings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    timings(write_lock_secs=4)
    monkeypatch.setitem(connection.settings_dict["OPTIONS"], "prepare_threshold", None)
    connection.close()
    credential, _ = credentials.mint(kind="api", project=projects.default(), user=people.owner())
    before = shown()

    @idempotency.idempotent(still=lambda *_args: None)
    def handler(view: Any, request: Any) -> Response:
        return Response(shown())

    sent = RequestFactory().post("/", {}, "application/json", headers={"Idempotency-Key": "once"})
    view: Any = SimpleNamespace(credential=credential, kwargs={})
    assert handler(view, Request(sent, parsers=[JSONParser()])).data == "4s"
    assert shown() == before


def test_behind_a_pooler_each_transaction_has_the_bound_and_leaves_nothing_behind(
    impatient: None, timings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    timings(write_lock_secs=4)
    monkeypatch.setitem(connection.settings_dict["OPTIONS"], "prepare_threshold", None)
    connection.close()
    before = shown()  # The pool may lend another connection than before, with another bound.
    assert before != "4s"
    with unit_of_work.transaction():
        assert shown() == "4s"
    assert shown() == before
