"""The unit of work: its events, wake-ups and audit rows commit with it, in commit order, or not at all."""

from __future__ import annotations

import contextlib
import functools
import re
import signal
import threading
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from django.db import IntegrityError, close_old_connections, connection
from django.db import transaction as database
from django.test.utils import CaptureQueriesContext

from accounts import projects
from accounts.models import Project
from ledger import feed, unit_of_work
from ledger.audit import chain
from ledger.models import AuditEntry, Event, Head, OutboxEntry
from ledger.store import insert
from tests.waiting import PATIENCE, breathe, wait_until

pytestmark = pytest.mark.django_db(transaction=True)

#: A text that every encoder writes in its own way, if in any. The hash of an audit row covers it.
ODD = '"a\\" \n\t\x7f\x1b é \u2028 \ufb33 \U0001f600 {curly} %s %(now)s \'; --'


def test_nothing_can_be_noted_outside_a_transaction() -> None:
    project = projects.default()
    with pytest.raises(RuntimeError, match=r"unit_of_work\.transaction"):
        unit_of_work.event(project.pk, "lost")
    with pytest.raises(RuntimeError):
        unit_of_work.wake("session:1")


def test_a_transaction_that_raises_leaves_no_event_no_audit_and_no_number_behind() -> None:
    project = projects.default()
    with pytest.raises(ValueError, match="no"), unit_of_work.transaction():
        unit_of_work.event(project.pk, "lost")
        unit_of_work.audit(project.pk, "me", "lose", "it")
        raise ValueError("no")
    with unit_of_work.transaction():
        unit_of_work.event(project.pk, "kept")
    assert [(event.cursor, event.type) for event in feed.beyond(project.pk, 0).events] == [(1, "kept")]
    assert not AuditEntry.objects.exists()


def test_a_savepoint_that_raises_takes_only_its_own_entries_with_it() -> None:
    project = projects.default()
    with unit_of_work.transaction():
        unit_of_work.event(project.pk, "before")
        with pytest.raises(ValueError, match="inner"), unit_of_work.savepoint(), unit_of_work.transaction():
            unit_of_work.event(project.pk, "inner")
            unit_of_work.outbox(project.pk, "webhook", "inner", {})
            raise ValueError("inner")
        unit_of_work.event(project.pk, "after")
    assert [event.type for event in feed.beyond(project.pk, 0).events] == ["before", "after"]
    assert not OutboxEntry.objects.exists()


def test_an_inner_operation_joins_the_transaction_without_a_savepoint() -> None:
    project = projects.default()
    with CaptureQueriesContext(connection) as asked, unit_of_work.transaction(), unit_of_work.transaction():
        unit_of_work.event(project.pk, "inner")
    assert not [each["sql"] for each in asked if "SAVEPOINT" in each["sql"]]
    assert [event.type for event in feed.beyond(project.pk, 0).events] == ["inner"]


def test_nothing_is_committed_when_an_inner_operation_failed_and_the_outer_one_went_on() -> None:
    project = projects.default()
    with pytest.raises(RuntimeError, match="savepoint"), unit_of_work.transaction():
        unit_of_work.event(project.pk, "outer")
        with pytest.raises(ValueError, match="inner"), unit_of_work.transaction():
            OutboxEntry.objects.create(project=project, kind="webhook", key="half", payload={})
            raise ValueError("inner")
    assert feed.beyond(project.pk, 0).events == []
    assert not OutboxEntry.objects.exists()
    with unit_of_work.transaction():
        unit_of_work.event(project.pk, "next")
    assert [event.type for event in feed.beyond(project.pk, 0).events] == ["next"]


def test_every_savepoint_is_listed_with_its_reason() -> None:
    root = Path(unit_of_work.__file__).parent.parent
    apps = ("accounts", "approvals", "ledger", "mailbox", "orchestration", "server")
    files = [file for app in apps for file in (root / app).rglob("*.py") if file != Path(unit_of_work.__file__)]
    opened = {
        ".".join(file.relative_to(root).with_suffix("").parts)
        for file in files
        if "unit_of_work.savepoint()" in file.read_text()
    }
    listed = re.findall(r"- `([\w.]+)`", unit_of_work.savepoint.__doc__ or "")
    assert sorted(opened) == sorted(module_of(name, opened) for name in listed)


def module_of(name: str, modules: set[str]) -> str:
    return name if name in modules else name.rpartition(".")[0]


def test_the_same_outbox_key_is_owed_once() -> None:
    project = projects.default()
    for _ in range(2):
        with unit_of_work.transaction():
            unit_of_work.outbox(project.pk, "webhook", "the same", {"n": 1})
    assert OutboxEntry.objects.count() == 1


def test_a_commit_that_the_database_refuses_stores_nothing_and_leaves_the_connection_usable() -> None:
    """Foreign keys are checked at COMMIT, which goes to PostgreSQL together with the entries."""
    project, told = projects.default(), []
    with pytest.raises(IntegrityError), unit_of_work.transaction():
        OutboxEntry.objects.create(project_id=uuid4(), kind="webhook", key="of nobody", payload={})
        unit_of_work.event(project.pk, "lost")
        unit_of_work.after_commit(lambda: told.append("lost"))
    assert not Event.objects.exists()
    assert not OutboxEntry.objects.exists()
    with unit_of_work.transaction():
        unit_of_work.event(project.pk, "kept")
        unit_of_work.after_commit(lambda: told.append("kept"))
    assert told == ["kept"]
    assert list(Event.objects.values_list("type", "cursor")) == [("kept", 1)]
    assert connection.get_autocommit()


def test_one_transaction_may_write_more_audit_rows_than_one_statement_takes(monkeypatch: pytest.MonkeyPatch) -> None:
    """Also inside a transaction of somebody else's, and for a project without a head."""
    monkeypatch.setattr(insert, "MOST_CHAINED", 3)
    own, other = projects.default(), Project.objects.create(slug="other", name="Other")
    for project in (own, other):
        for around in (database.atomic, contextlib.nullcontext) if project == own else (contextlib.nullcontext,):
            with around(), unit_of_work.transaction():
                for number in range(10):
                    unit_of_work.audit(project.pk, "me", "act", str(number), {})
                unit_of_work.event(project.pk, "acted")
                unit_of_work.event(project.pk, "acted")
        assert chain.verify(project.pk) is None
    head = Head.objects.get(pk=own.pk)
    assert (head.audit_number, head.cursor) == (20, 4)
    assert list(AuditEntry.objects.order_by("number").filter(project=other).values_list("subject", flat=True)) == [
        str(number) for number in range(10)
    ]
    assert list(Event.objects.filter(project=own).order_by("cursor").values_list("cursor", flat=True)) == [1, 2, 3, 4]


class OverTime(Exception):
    """What a signal handler raises, as that of a task at its time limit."""


def waits(pid: int) -> bool:
    with connection.cursor() as cursor:
        cursor.execute("SELECT count(*) FROM pg_stat_activity WHERE pid = %s AND wait_event_type = 'Lock'", [pid])
        return bool(cursor.fetchone()[0])


def held_and_signalled(project_id: Any, pid: int, is_held: threading.Event, over: threading.Event) -> None:
    """Hold the ledger head, raise a signal when that connection waits for it, and let go when it waits no longer."""
    try:
        with database.atomic():
            Head.objects.select_for_update().get(pk=project_id)
            is_held.set()
            wait_until(lambda: waits(pid))
            signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGUSR1)
            assert over.wait(PATIENCE)
    finally:
        connection.close()


def test_a_signal_during_the_wait_for_the_head_calls_the_commit_off_and_is_no_outage() -> None:
    if connection.vendor != "postgresql":
        pytest.skip("SQLite's COMMIT waits for no other statement")
    project, told = projects.default(), []
    with unit_of_work.transaction():
        unit_of_work.event(project.pk, "first")

    def over_time(*_: Any) -> None:
        raise OverTime

    former = signal.signal(signal.SIGUSR1, over_time)
    is_held, over = threading.Event(), threading.Event()
    pid = connection.connection.info.backend_pid
    rival = threading.Thread(target=held_and_signalled, args=(project.pk, pid, is_held, over))
    rival.start()
    try:
        assert is_held.wait(PATIENCE)
        with pytest.raises(OverTime), unit_of_work.transaction():
            unit_of_work.event(project.pk, "lost")
            unit_of_work.after_commit(lambda: told.append("lost"))
        wait_until(lambda: not waits(pid))
    finally:
        over.set()
        rival.join()
        signal.signal(signal.SIGUSR1, former)
    with unit_of_work.transaction():
        unit_of_work.event(project.pk, "kept")
        unit_of_work.after_commit(lambda: told.append("kept"))
    assert told == ["kept"]
    assert list(Event.objects.order_by("cursor").values_list("type", "cursor")) == [("first", 1), ("kept", 2)]


def test_a_transaction_inside_one_of_somebody_else_ends_with_it() -> None:
    project, told = projects.default(), []
    with pytest.raises(ZeroDivisionError), database.atomic():
        with unit_of_work.transaction():
            unit_of_work.event(project.pk, "taken back")
            unit_of_work.audit(project.pk, "me", "act", "it")
            unit_of_work.after_commit(lambda: told.append("taken back"))
        raise ZeroDivisionError
    assert told == []
    assert not Event.objects.exists()
    assert not AuditEntry.objects.exists()


def write_events(project_id: Any, count: int, failures: list[BaseException]) -> None:
    try:
        for number in range(count):
            with unit_of_work.transaction():
                unit_of_work.event(project_id, "counted", {"n": number})
                for each in range(number % 4):  # Also none, and several.
                    unit_of_work.audit(project_id, ODD, "count", f"{number} {ODD}", {"n": number, ODD: [each, ODD]})
    except BaseException as failure:
        failures.append(failure)
    finally:
        close_old_connections()
        connection.close()


def test_a_reader_by_cursor_skips_nothing_while_many_write() -> None:
    """I13: reading while eight writers commit, in any order, finds every event once and in order."""
    project = projects.default()
    seen: list[Any] = []
    failures: list[Any] = []
    writers = [threading.Thread(target=write_events, args=(project.pk, 25, failures)) for _ in range(8)]
    for writer in writers:
        writer.start()
    while any(writer.is_alive() for writer in writers) or len(seen) < feed.head(project.pk):
        seen += [event.cursor for event in feed.beyond(project.pk, seen[-1] if seen else 0).events]
        breathe(0.002)  # A reader that never rests keeps the interpreter from the writers.
    assert failures == []
    assert seen == list(range(1, 201))
    assert chain.verify(project.pk) is None


@pytest.mark.parametrize(
    ("harm", "number", "why"),
    [
        (lambda rows: rows.filter(number=2).update(actor="somebody else"), 2, "altered"),
        (lambda rows: rows.filter(number=2).update(detail='{"n":9}'), 2, "altered"),
        (lambda rows: rows.filter(number=2).delete(), 2, "missing"),
        (lambda rows: rows.filter(number=3).delete(), 3, "missing at the end"),
        (lambda rows: rows.filter(number=3).update(previous_hash="f" * 64), 3, "follow"),
    ],
)
def test_the_audit_chain_names_the_first_row_that_was_tampered_with(harm: Any, number: int, why: str) -> None:
    project = projects.default()
    for n in range(3):
        with unit_of_work.transaction():
            unit_of_work.audit(project.pk, "me", "act", "it", {"n": n})
    assert chain.verify(project.pk) is None
    harm(AuditEntry.objects.filter(project=project))
    broken = chain.verify(project.pk)
    assert broken is not None
    assert broken.number == number
    assert why in broken.why


def test_heads_of_two_projects_count_apart(other_project: Project) -> None:
    project = projects.default()
    with unit_of_work.transaction():
        unit_of_work.event(project.pk, "mine")
        unit_of_work.event(other_project.pk, "theirs")
        unit_of_work.event(other_project.pk, "theirs")
    assert (feed.head(project.pk), feed.head(other_project.pk)) == (1, 2)
    assert Head.objects.count() == 2
    assert Event.objects.filter(project=project).count() == 1


def test_what_fails_after_the_commit_fails_neither_the_caller_nor_what_comes_after_it(
    caplog: pytest.LogCaptureFixture,
) -> None:
    ran: list[str] = []

    def fails() -> None:
        raise ValueError("too late")

    with unit_of_work.transaction():
        unit_of_work.event(projects.default().pk, "kept")
        unit_of_work.after_commit(functools.partial(fails))
        unit_of_work.after_commit(functools.partial(ran.append, "next"))
    assert ran == ["next"]
    assert Event.objects.filter(type="kept").exists()
    assert "failed after COMMIT" in caplog.text
