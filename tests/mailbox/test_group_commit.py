"""Deliveries that share a commit: each gets its own answer, and nobody pays for a neighbour."""

from __future__ import annotations

import asyncio
import signal
from concurrent.futures import wait
from functools import partial
from threading import Event, main_thread
from typing import Any
from uuid import UUID, uuid4

import pytest
from django.db import DatabaseError, DataError, OperationalError, connection, connections, transaction
from psycopg import errors

from accounts import projects
from accounts.models import Project
from core.concurrency.threadpool import run_in_threadpool
from core.web.problems import Problem
from ledger import unit_of_work
from mailbox import Mailbox, delivery, envelope, session_inbox
from mailbox.addresses import session_address
from mailbox.models import Message
from mailbox.store import group_commit, insert
from tests.mailbox.concurrently import at_once, concurrently
from tests.mailbox.conftest import task
from tests.waiting import wait_until

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.timeout(90)]


@pytest.fixture
def project(transactional_db: None) -> Any:
    return projects.default().pk


@pytest.fixture
def commits(monkeypatch: pytest.MonkeyPatch) -> Any:
    """The sizes of the batches that were committed."""
    seen = []
    together_ = group_commit._transaction

    def counted(batch: Any) -> Any:
        found = together_(batch)
        seen.append(len(batch))
        return found

    monkeypatch.setattr(group_commit, "_transaction", counted)
    return seen


@pytest.fixture
def slow_first(monkeypatch: pytest.MonkeyPatch) -> Any:
    """The first batch waits for `finish` before it begins, so that others gather behind it."""
    begun, finish = Event(), Event()
    commit = group_commit.commit

    def slow(batch: Any) -> None:
        if not begun.is_set():
            begun.set()
            assert finish.wait(30)
        commit(batch)

    monkeypatch.setattr(group_commit, "commit", slow)
    return begun, finish


def behind(slow_first: Any, first: Any, others: Any) -> list[Any]:
    """The answers of `others`, all of which came while `first` was being committed."""
    begun, finish = slow_first
    with concurrently(len(others) + 1) as call:
        leader = call(first)
        assert begun.wait(30)
        followers = [call(other) for other in others]
        wait_until(lambda: len(group_commit._queue.waiting) == len(others))
        finish.set()
        wait([leader, *followers], timeout=30)
        return [each.exception() or each.result() for each in followers]


def test_one_caller_waits_for_nobody(project: UUID, commits: Any) -> None:
    delivery.deliver(project, "desk", [task("a"), task("b")])
    delivery.deliver(project, "desk", [task("c")])
    assert commits == [1, 1]


def test_who_comes_meanwhile_shares_the_next_commit(project: UUID, commits: Any, slow_first: Any) -> None:
    sends = [lambda n=n: delivery.deliver(project, f"desk-{n % 3}", [task(str(n))]) for n in range(20)]
    answers = behind(slow_first, lambda: delivery.deliver(project, "desk", [task("first")]), sends)
    assert commits == [1, 20]
    assert sorted(each[0].seq for each in answers) == sorted([*range(1, 8), *range(1, 8), *range(1, 7)])


def test_each_is_told_its_own_outcome(project: UUID, slow_first: Any) -> None:
    def send(body: Any, id: Any) -> Any:
        return lambda: delivery.deliver(project, "desk", [task(body, id=id)])[0].duplicate

    def two() -> Any:
        return delivery.deliver(project, "desk", [task("y", id="free"), task("other", id="one")])

    answers = behind(slow_first, send("x", "one"), [send("x", "one"), send("other", "one"), two, send("z", "two")])
    assert answers[0] is True and answers[3] is False
    assert [getattr(each, "type", None) for each in answers[1:3]] == ["conflict", "conflict"]
    assert set(Message.objects.values_list("message_id", flat=True)) == {"one", "two"}


def test_one_bad_row_costs_no_neighbour(project: UUID, slow_first: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def refusing(accept: Any, project_id: Any, messages: Any) -> Any:
        if any(each.message.body == "bad" for _, each in messages):
            raise DataError("no room")
        return accept(project_id, messages)

    for name in ("accept", "accept_alone"):
        monkeypatch.setattr(insert, name, partial(refusing, getattr(insert, name)))
    bodies = ["a", "bad", "c"]
    sends = [lambda body=body: delivery.deliver(project, "desk", [task(body)])[0].duplicate for body in bodies]
    answers = behind(slow_first, lambda: delivery.deliver(project, "desk", [task("first")]), sends)
    assert [type(each) for each in answers] == [bool, DataError, bool]
    assert Message.objects.count() == 3


def test_a_row_beyond_a_limit_of_the_database_costs_no_neighbour(
    project: UUID, slow_first: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refusing(accept: Any, project_id: Any, messages: Any) -> Any:
        if any(each.message.body == "bad" for _, each in messages):
            raise OperationalError("index row size exceeds maximum") from errors.ProgramLimitExceeded()
        return accept(project_id, messages)

    for name in ("accept", "accept_alone"):
        monkeypatch.setattr(insert, name, partial(refusing, getattr(insert, name)))
    bodies = ["a", "bad", "c"]
    sends = [lambda body=body: delivery.deliver(project, "desk", [task(body)])[0].duplicate for body in bodies]
    answers = behind(slow_first, lambda: delivery.deliver(project, "desk", [task("first")]), sends)
    assert [type(each) for each in answers] == [bool, OperationalError, bool]


def test_a_commit_holds_only_so_many_bytes_of_its_callers(
    project: UUID, slow_first: Any, commits: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(group_commit, "MOST_CHARACTERS", 100)
    sends = [lambda: delivery.deliver(project, "desk", [task("x" * 40)])[0].duplicate] * 5
    behind(slow_first, lambda: delivery.deliver(project, "desk", [task("y" * 500)]), sends)
    assert commits == [1, 2, 2, 1]


def test_a_message_that_fails_in_a_way_that_nobody_foresaw_fails_for_its_own_caller(
    project: UUID, monkeypatch: pytest.MonkeyPatch
) -> None:
    validate = envelope.validate

    def failing(address: Any, message: Any, **more: Any) -> Any:
        if message.body == "unforeseen":
            raise RecursionError("deep")
        return validate(address, message, **more)

    monkeypatch.setattr(envelope, "validate", failing)
    answers = delivery.deliver_posts(
        [delivery.Post(project, "desk", [task(body)]) for body in ("a", "unforeseen", "b")]
    )
    assert [type(each) for each in answers] == [list, RecursionError, list]
    assert Message.objects.count() == 2


def test_a_caller_that_leaves_while_it_waits_stops_nobody(project: UUID, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its thread is interrupted by a signal, between a leader and others that wait behind it."""

    class Left(BaseException):
        pass

    def leave(*_: Any) -> None:
        raise Left

    commit, begun, finish = group_commit.commit, Event(), Event()

    def slow(batch: Any) -> None:
        begun.set()
        assert finish.wait(30)
        commit(batch)

    monkeypatch.setattr(group_commit, "commit", slow)
    monkeypatch.setattr(group_commit, "MOST", 1)
    before = signal.signal(signal.SIGUSR1, leave)
    waiting = group_commit._queue.waiting

    def send(name: str) -> Any:
        return lambda: delivery.deliver(project, "desk", [task(id=name)])[0].duplicate

    def interrupt(call: Any) -> Any:
        wait_until(lambda: len(waiting) == 1, 20)
        behind_it = call(send("behind"))
        wait_until(lambda: len(waiting) == 2, 20)
        signal.pthread_kill(main_thread().ident, signal.SIGUSR1)
        return behind_it

    try:
        with concurrently(3) as call:
            leading = call(send("leading"))
            assert begun.wait(20)
            interrupting = call(interrupt, call)
            with pytest.raises(Left):
                send("leaving")()
            finish.set()
            assert leading.result(20) is False
            assert interrupting.result(20).result(20) is False
    finally:
        finish.set()
        signal.signal(signal.SIGUSR1, before)
    assert delivery.deliver(project, "desk", [task(id="after")])[0].duplicate is False
    assert set(Message.objects.values_list("message_id", flat=True)) == {"leading", "behind", "after"}


def test_projects_share_a_commit_and_nothing_else(project: UUID, slow_first: Any, commits: Any) -> None:
    other = Project.objects.create(slug="other").pk
    sends = [lambda p=p: delivery.deliver(p, "desk", [task("x", id="one")])[0] for p in (project, other)]
    answers = behind(slow_first, lambda: delivery.deliver(project, "shelf", [task()]), sends)
    assert [(each.seq, each.duplicate) for each in answers] == [(1, False), (1, False)]
    assert commits == [1, 2]


def test_a_leader_that_breaks_off_leaves_the_others_to_the_next(project: UUID, monkeypatch: pytest.MonkeyPatch) -> None:
    class Stopped(BaseException):
        pass

    commit, begun, finish = group_commit.commit, Event(), Event()
    stopped: list[Any] = []

    def broken(batch: Any) -> None:
        if not begun.is_set():
            begun.set()
            assert finish.wait(30)
        elif not stopped:
            stopped.append(len(batch))
            raise Stopped
        commit(batch)

    monkeypatch.setattr(group_commit, "commit", broken)
    sends = [lambda n=n: delivery.deliver(project, "desk", [task(str(n))])[0].duplicate for n in range(5)]
    answers = behind((begun, finish), lambda: delivery.deliver(project, "desk", [task("first")]), sends)
    assert stopped == [5]
    assert sorted(map(str, answers)) == ["", *["False"] * 4]
    assert Message.objects.count() == 5


def posts(project: Any, count: int) -> list[Any]:
    return [delivery.Post(project, "desk", [task(str(number), id=f"m-{number}")]) for number in range(count)]


def test_callers_that_share_a_thread_are_settled_over_as_many_commits_as_they_need(
    project: UUID, commits: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(group_commit, "MOST", 2)
    outcomes: list[Any] = delivery.deliver_posts(posts(project, 5))
    assert [outcome.seq for [outcome] in outcomes] == [1, 2, 3, 4, 5]
    assert commits == [2, 2, 1]


def test_of_callers_that_share_a_thread_each_has_its_own_refusal(project: UUID) -> None:
    wrong = delivery.Post(project, "a b", [task()])
    mixed = delivery.Post(project, "desk", [task("other", id="m-0"), Problem("invalid", 422, "unread"), task("new")])
    together = [*posts(project, 1), wrong, mixed, delivery.Post(project, "desk", [])]
    outcomes: list[Any] = delivery.deliver_posts(together)
    good, refused, several, nothing = outcomes
    assert (good[0].id, refused.status, nothing) == ("m-0", 422, [])
    assert [getattr(each, "status", 201) for each in several] == [409, 422, 201]


def test_a_commit_that_breaks_off_leaves_no_caller_of_its_thread_unsettled(
    project: UUID, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Stopped(BaseException):
        pass

    monkeypatch.setattr(group_commit, "MOST", 2)
    commit = group_commit.commit
    broken: list[Any] = []

    def breaking(batch: Any) -> None:
        if not broken:
            broken.append(len(batch))
            raise Stopped
        commit(batch)

    monkeypatch.setattr(group_commit, "commit", breaking)
    with pytest.raises(Stopped):
        delivery.deliver_posts(posts(project, 5))
    # The first of them broke off; the others went on, and nobody who comes now finds the lead taken.
    assert Message.objects.count() == 4
    assert delivery.deliver(project, "desk", [task()])[0].duplicate is False


def test_a_delivery_inside_a_transaction_is_not_shared_and_vanishes_with_it(project: UUID, commits: Any) -> None:
    for around in (transaction.atomic, unit_of_work.transaction):
        with pytest.raises(ZeroDivisionError), around():
            delivery.deliver(project, "desk", [task()])
            assert connection.in_atomic_block
            raise ZeroDivisionError
    assert commits == [] and not Message.objects.exists()


def test_many_threads_keep_each_address_in_order(project: UUID, commits: Any) -> None:
    address = session_address(uuid4())

    def send(number: int) -> list[Any]:
        return [delivery.deliver(project, address, [task(f"{number}/{turn}")], internal=True) for turn in range(20)]

    at_once(16, send)
    bodies = [row.body for row in session_inbox.unadmitted(project, address, limit=1000)]
    assert len(bodies) == 320 and sum(commits) == 320
    for number in range(16):
        mine = [body for body in bodies if body.startswith(f"{number}/")]
        assert mine == [f"{number}/{turn}" for turn in range(20)]


def test_on_sqlite_all_leaders_commit_on_one_connection_and_keep_their_own(
    project: UUID, monkeypatch: pytest.MonkeyPatch
) -> None:
    used, together_ = [], group_commit._transaction
    monkeypatch.setattr(
        group_commit, "_transaction", lambda batch: used.append(connections["default"]) or together_(batch)
    )

    def send(number: int) -> Any:
        own = connections["default"]
        delivery.deliver(project, "desk", [task(str(number))])
        return connections["default"] is own and own.connection

    kept = at_once(4, send)
    on_sqlite = connection.vendor == "sqlite"
    assert len(set(map(id, used))) == 1 or not on_sqlite
    assert kept == [None] * 4 or not on_sqlite


def test_a_connection_that_broke_is_not_the_next_leaders(project: UUID) -> None:
    delivery.deliver(project, "desk", [task()])
    if connection.vendor != "sqlite":
        pytest.skip("leaders share a connection on SQLite only")
    group_commit._queue.writer.connection.close()
    with pytest.raises(DatabaseError):
        delivery.deliver(project, "desk", [task()])
    assert delivery.deliver(project, "desk", [task()])[0].seq == 2


def test_the_database_is_away_and_each_is_told_so(
    project: UUID, monkeypatch: pytest.MonkeyPatch, slow_first: Any
) -> None:
    def away(batch: Any) -> None:
        raise OperationalError("gone")

    monkeypatch.setattr(group_commit, "_transaction", away)
    sends = [lambda: delivery.deliver(project, "desk", [task()])] * 3
    answers = behind(slow_first, sends[0], sends)
    assert [type(each) for each in answers] == [OperationalError] * 3
    assert not group_commit._queue.has_leader and not group_commit._queue.waiting


def test_a_conflict_of_one_among_many_in_one_call_keeps_none_of_them(project: UUID) -> None:
    delivery.deliver(project, "desk", [task("a", id="one")])
    with pytest.raises(Problem):
        delivery.deliver(project, "desk", [task("free"), task("b", id="one")])
    assert Message.objects.count() == 1


def test_of_the_same_message_several_times_in_one_batch_one_is_new(
    project: UUID, commits: Any, slow_first: Any
) -> None:
    sends = [lambda: delivery.deliver(project, "desk", [task("x", id="one")])[0]] * 4
    answers = behind(slow_first, lambda: delivery.deliver(project, "desk", [task("first")]), sends)
    assert commits == [1, 4]
    assert sorted(each.duplicate for each in answers) == [False, True, True, True]
    assert len({each.seq for each in answers}) == 1


async def test_tasks_of_one_loop_share_commits_and_each_keeps_its_order(project: UUID, commits: Any) -> None:
    desk = Mailbox("desk", project=project)

    async def send(number: int) -> None:
        for turn in range(10):
            await desk.adeliver({"message_kind": "task", "body": f"{number}/{turn}"})

    await asyncio.gather(*map(send, range(20)))
    bodies = [message.body for message in (await run_in_threadpool(desk.drain, 1000)).messages]
    assert len(bodies) == sum(commits) == 200 and len(commits) < 100
    for number in range(20):
        mine = [body for body in bodies if body.startswith(f"{number}/")]
        assert mine == [f"{number}/{turn}" for turn in range(10)]


async def test_of_tasks_that_share_a_commit_each_is_told_its_own_outcome(project: UUID) -> None:
    desk = Mailbox("desk", project=project)
    bodies = ["a", "a", "other", "\0"]
    sends = [desk.adeliver({"id": "one", "message_kind": "task", "body": body}) for body in bodies]
    found = await asyncio.gather(*sends, return_exceptions=True)
    assert [getattr(each, "duplicate", None) for each in found] == [False, True, None, None]
    assert [getattr(each, "type", None) for each in found] == [None, None, "conflict", "invalid"]
