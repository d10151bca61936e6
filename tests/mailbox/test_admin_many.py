"""Settling many quarantined messages at once: the rights, the confirmation, and no effect of one on another."""

from __future__ import annotations

import json
from datetime import timedelta
from typing import Any

import pytest
from django.test import Client

from core.db.clock import read_database_clock
from ledger.models import AuditEntry
from mailbox import claims, quarantine
from mailbox.adminsite import bulk_settle
from mailbox.models import Quarantined
from tests.mailbox.test_admin import LIST, staff

pytestmark = pytest.mark.django_db


def put(project: Any, name: str, raw: bytes | None = None) -> Quarantined:
    good = json.dumps({"id": name, "message_kind": "task", "body": "do it"}).encode()
    return quarantine.put(project, raw or good, "amqp", "a bad day", address="desk", message_id=name)


@pytest.fixture
def clerk(project: Any) -> Client:
    return staff(project, "inspect_quarantine", "requeue")


def choose(client: Client, operation: str, *rows: Quarantined, query: str = "", **form: str) -> Any:
    chosen = {"action": f"{operation}_chosen", "_selected_action": [str(row.pk) for row in rows]}
    return client.post(f"{LIST}{query}", chosen | form, follow=True)


def told(answer: Any) -> list[str]:
    return [str(message) for message in answer.context["messages"]]


def states() -> dict[str, str]:
    return dict(Quarantined.objects.values_list("message_id", "state"))


def test_it_is_asked_once_more_before_anything_happens(project: Any, clerk: Client) -> None:
    rows = [put(project, "a"), put(project, "b")]
    for operation in ("requeue", "discard"):
        page = choose(clerk, operation, *rows, index="0").content.decode()
        assert f'name="action" value="{operation}_chosen"' in page
        assert all(f'name="_selected_action" value="{row.pk}"' in page for row in rows)
    assert states() == {"a": "waiting", "b": "waiting"}


def test_what_was_chosen_is_let_in_and_nothing_else(project: Any, clerk: Client) -> None:
    rows = [put(project, "a"), put(project, "b")]
    put(project, "c")
    answer = choose(clerk, "requeue", *rows, confirmed="yes", query="?state__exact=waiting")
    assert told(answer) == ["2 of 2 are in their mailboxes."]
    assert answer.request["QUERY_STRING"] == "state__exact=waiting"
    assert states() == {"a": "requeued", "b": "requeued", "c": "waiting"}
    assert [each.message_id for each in claims.drain(project, "desk").messages] == ["a", "b"]
    assert AuditEntry.objects.filter(action="quarantine.requeued", actor__startswith="user:").count() == 2


def test_one_that_is_refused_stays_and_keeps_no_other(project: Any, clerk: Client) -> None:
    rows = [put(project, "a"), put(project, "cut", b'{"id": '), put(project, "b")]
    answer = choose(clerk, "requeue", *rows, confirmed="yes")
    assert told(answer)[0] == "2 of 3 are in their mailboxes."
    assert told(answer)[1].startswith("cut stays here: ")
    assert states() == {"a": "requeued", "cut": "waiting", "b": "requeued"}


def test_one_that_breaks_keeps_no_other(project: Any, clerk: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    rows = [put(project, "a"), put(project, "broken"), put(project, "b")]
    whole = quarantine.requeue

    def requeue(pk: Any, *rest: Any) -> Any:
        if pk == rows[1].pk:
            raise ZeroDivisionError
        return whole(pk, *rest)

    monkeypatch.setattr(quarantine, "requeue", requeue)
    answer = choose(clerk, "requeue", *rows, confirmed="yes")
    assert told(answer)[0] == "2 of 3 are in their mailboxes."
    assert states() == {"a": "requeued", "broken": "waiting", "b": "requeued"}


def test_many_are_discarded_with_one_note(project: Any, clerk: Client) -> None:
    rows = [put(project, "a"), put(project, "b")]
    assert (
        "A note with the reason is required"
        in choose(clerk, "discard", *rows, confirmed="yes", note=" ").content.decode()
    )
    assert set(states().values()) == {"waiting"}
    answer = choose(clerk, "discard", *rows, confirmed="yes", note="spam")
    assert told(answer) == ["2 of 2 are discarded."]
    assert set(Quarantined.objects.values_list("state", "note")) == {("discarded", "spam")}


def test_what_was_settled_meanwhile_is_told(project: Any, clerk: Client) -> None:
    rows = [put(project, "a"), put(project, "b")]
    choose(clerk, "discard", rows[0], confirmed="yes", note="spam")
    answer = choose(clerk, "requeue", *rows, confirmed="yes")
    assert told(answer) == [
        "1 of 2 are in their mailboxes.",
        "1 of 2 were settled before. Nothing was changed there.",
    ]
    assert states() == {"a": "discarded", "b": "requeued"}


def test_who_may_only_look_settles_nothing(project: Any) -> None:
    row = put(project, "a")
    looker = staff(project, "inspect_quarantine", name="looker")
    assert "_chosen" not in looker.get(LIST).content.decode()
    for operation in ("requeue", "discard"):
        choose(looker, operation, row, confirmed="yes", note="x")
    assert states() == {"a": "waiting"}


def test_another_projects_rows_are_not_chosen(project: Any, foreign: Any, clerk: Client) -> None:
    theirs = put(foreign, "theirs")
    page = choose(clerk, "discard", theirs, index="0").content.decode()
    assert "theirs" not in page
    choose(clerk, "discard", theirs, confirmed="yes", note="x")
    assert states() == {"theirs": "waiting"}


def test_at_most_so_many_at_once_oldest_first(project: Any, clerk: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bulk_settle, "MOST", 2)
    rows = []
    for name in ("a", "b", "c"):
        rows.append(put(project, name))
        # Rows of one moment have no order.
        Quarantined.objects.filter(message_id=name).update(
            created_at=read_database_clock() - timedelta(hours=3 - len(rows))
        )
    page = choose(clerk, "requeue", *rows, index="0").content.decode()
    assert "1 more were chosen. At most 2 are settled at once" in page
    assert page.count('name="_selected_action"') == 2
    answer = choose(clerk, "requeue", *rows, confirmed="yes")
    assert told(answer)[1:] == ["1 of 3 still wait: at most 2 are settled at once."]
    assert states()["c"] == "waiting"
