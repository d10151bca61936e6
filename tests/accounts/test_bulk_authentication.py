"""Many tokens at once: each is checked as it would be alone, in one query, and nothing is remembered."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import pytest
from django.db import OperationalError, ProgrammingError, connection
from django.test import Client
from pytest_django import DjangoAssertNumQueries

from accounts import bulk_authentication, credentials, projects, unreadable
from accounts.actors import Actor
from accounts.models import Credential, User
from core.db import sql
from core.db.clock import clock_at
from tests.people import owner

pytestmark = pytest.mark.django_db
UNKNOWN = credentials.Recognised(None, "unknown")
NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)


def token(**more: Any) -> Any:
    wanted = {"kind": "api", "user": owner(), "project": projects.default(), "scopes": ["feed:read"]} | more
    return credentials.mint(**wanted)[1]


def test_each_is_checked_as_it_would_be_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    child = {"kind": "child", "user": None, "subject": str(uuid4()), "attempt": 1}
    live, expired, ended, orphan = token(), token(expires_at=NOON), token(), token(user=None)
    credentials.end(credentials.check(ended).pk, Actor.system("test"))
    wrong_secret = live[:-1] + ("a" if live[-1] != "a" else "b")
    other_kind = live.replace("wr_key_", "wr_child_")
    tokens = [live, expired, ended, orphan, token(**child), wrong_secret, other_kind, "", "x", "wr_key_\x00", "é" * 60]
    alone = {each: credentials.check(each) for each in tokens}
    asked, run = [], sql.run_prepared
    monkeypatch.setattr(sql, "run_prepared", lambda *query: asked.append(query) or run(*query))
    assert bulk_authentication.check_all(tokens) == alone
    assert len(asked) == 1
    assert [each is not None for each in alone.values()] == [True, False, False, False, True, *[False] * 6]


def test_what_is_asked_of_a_holder_needs_no_more_queries(django_assert_num_queries: DjangoAssertNumQueries) -> None:
    mine, project = token(name="robot"), projects.default().pk
    found = bulk_authentication.check_all([mine])[mine]
    with django_assert_num_queries(0):
        assert (found.project_id, found.scopes, found.kind) == (project, ["feed:read"], "api")
        actor = Actor.of_credential(found)
        assert (found.project.pk, actor.user.get_username()) == (project, "owner")
        assert actor.name == "robot"


def test_a_token_expires_by_the_databases_clock() -> None:
    mine = token(expires_at=NOON)
    with clock_at(NOON - timedelta(seconds=1)):
        assert bulk_authentication.check_all([mine])[mine] is not None
    with clock_at(NOON):
        assert bulk_authentication.check_all([mine])[mine] is None


def test_a_key_that_was_ended_opens_nothing_at_the_next_asking() -> None:
    mine = token()
    assert bulk_authentication.check_all([mine])[mine] is not None
    credentials.end(credentials.check(mine).pk, Actor.system("test"))
    assert bulk_authentication.check_all([mine])[mine] is None


BROKEN = {
    "scopes are a number": "scopes = '7'",
    "scopes are null": "scopes = 'null'",
    "scopes are no words": "scopes = '[[]]'",
    "ended at no time that Python knows": "ended_at = 'infinity'",
}


@pytest.mark.parametrize("how", BROKEN)
def test_a_row_that_cannot_be_read_opens_nothing_and_harms_no_other(
    how: Any, caplog: pytest.LogCaptureFixture, backend: str, client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(unreadable, "_refused", {})
    if "infinity" in BROKEN[how] and backend != "postgres":
        pytest.skip("a time of PostgreSQL")
    good, broken = token(), token()
    with connection.cursor() as cursor:
        public_id = credentials.parts(broken)[1]
        cursor.execute(f"UPDATE accounts_credential SET {BROKEN[how]} WHERE public_id = %s", [public_id])
    found = bulk_authentication.check_all([good, broken])
    assert (found[good] is not None, found[broken]) == (True, None)
    assert public_id in caplog.text
    assert broken not in caplog.text
    assert unreadable.recent() == 1
    caplog.clear()
    unreadable._refused.clear()
    assert (credentials.check(good) is not None, credentials.recognise(broken)) == (True, UNKNOWN)
    assert public_id in caplog.text and broken not in caplog.text
    assert unreadable.recent() == 1
    answer = client.get("/api/v1/sessions", headers={"Authorization": f"Bearer {broken}"})
    assert (answer.status_code, answer.json()["type"]) == (401, "unauthenticated")


@pytest.mark.parametrize("fault", [OperationalError("away"), ProgrammingError("no such column")])
def test_a_fault_of_the_database_is_no_broken_row(fault: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(*_query: Any) -> None:
        raise fault

    monkeypatch.setattr(sql, "run_prepared", fails)
    with pytest.raises(type(fault)):
        bulk_authentication.check_all([token()])


def test_the_columns_are_in_the_order_of_the_models() -> None:
    for model, read in ((Credential, bulk_authentication.FIELDS), (User, bulk_authentication.OWNERS_FIELDS)):
        assert list(read) == [field.attname for field in model._meta.concrete_fields if field.attname in read]
