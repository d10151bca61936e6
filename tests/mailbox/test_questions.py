"""`Mailbox.ask`: a question at a plain address, its one answer, and waiting for it in a program of one's own."""

from __future__ import annotations

import subprocess
import sys
import threading
import time
import uuid
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import pytest
from django.db import connection, transaction

from accounts.models import Project
from core.web.problems import Problem
from ledger import subscription, wakeups
from mailbox import Mailbox, delivery, questions
from mailbox.addresses import ANSWERS, session_address
from mailbox.answer_wait import Asked
from mailbox.envelope import NewMessage
from mailbox.models import Message
from orchestration.maintenance import retention
from tests.conftest import RUN
from tests.waiting import wait_until

pytestmark = pytest.mark.django_db(transaction=True)


def asks(mailbox: Mailbox, question: str = "green?", **options: Any) -> Future[Asked]:
    """The call, in a thread with its own connection."""

    def call() -> Asked:
        try:
            return mailbox.ask(question, **options)
        finally:
            connection.close()

    return ThreadPoolExecutor(1).submit(call)


def drained(mailbox: Mailbox) -> Any:
    return wait_until(lambda: mailbox.drain(limit=1).messages)[0]


def test_an_ask_waits_for_its_reply() -> None:
    desk = Mailbox("desk")
    held = asks(desk, timeout_secs=20)
    ask = drained(desk)
    assert (ask.message_kind, ask.body) == ("ask", {"question": "green?", "mode": "query"})
    assert ask.correlation_id == ask.message_id
    assert not held.done()
    started = time.monotonic()
    desk.reply(ask, {"green": True})
    asked = held.result(10)
    assert time.monotonic() - started < 3, "a wake-up ends the wait, not the poll"
    assert (asked.status, asked.answer, asked.id) == ("answered", {"green": True}, ask.message_id)
    assert Mailbox("desk").asked(ask.message_id).answer == {"green": True}


def test_a_deadline_is_pending_and_the_late_answer_can_be_fetched() -> None:
    desk = Mailbox("desk")
    asked = desk.ask("green?", mode="steer", timeout_secs=0.2)
    assert asked.status == "pending" and repr(asked).endswith("pending)")
    with pytest.raises(LookupError):
        _ = asked.answer
    desk.reply(drained(desk), None)
    assert asked.wait().answer is None
    assert desk.asked(asked.id).status == "answered"


def test_the_first_answer_stands() -> None:
    desk = Mailbox("desk")
    asked = desk.ask("green?", timeout_secs=0)
    ask = drained(desk)
    assert not desk.reply(ask, "yes").duplicate
    assert desk.reply(ask, "yes").duplicate, "the same again is no error"
    with pytest.raises(Problem) as refusal:
        desk.reply(ask, "no")
    assert (refusal.value.status, refusal.value.type) == (409, "already-answered")
    assert asked.wait().answer == "yes"


def test_sixteen_answers_at_once_are_one() -> None:
    desk = Mailbox("desk")
    asked = desk.ask("which?", timeout_secs=0)
    ask, told = drained(desk), []
    start = threading.Barrier(16)

    def answer(number: int) -> None:
        start.wait()
        try:
            desk.reply(ask, number)
            told.append(number)
        except Problem as refusal:
            assert refusal.type == "already-answered"
        finally:
            connection.close()

    threads = [threading.Thread(target=answer, args=(number,)) for number in range(16)]
    for each in threads:
        each.start()
    for each in threads:
        each.join()
    assert told == [asked.wait().answer]


def test_the_same_id_is_the_same_question() -> None:
    desk = Mailbox("desk")
    desk.ask("green?", id="q1", timeout_secs=0)
    desk.reply(drained(desk), "yes")
    assert desk.ask("green?", id="q1").answer == "yes"
    with pytest.raises(Problem) as refusal:
        desk.ask("red?", id="q1")
    assert refusal.value.type == "conflict"
    for name in ("wardroom:ask:mine", "\n", "x" * 257):
        with pytest.raises(Problem, match="not valid"):
            desk.ask("green?", id=name)
    assert Message.objects.filter(message_kind="ask").count() == 1


def test_a_reply_to_a_sessions_ask_goes_into_its_mailbox() -> None:
    session = uuid.uuid4()
    desk = Mailbox("desk")
    desk.deliver(
        NewMessage(id="q", message_kind="ask", body={"question": "?"}, correlation_id="c", sender_session=session)
    )
    desk.reply(drained(desk), "to you")
    reply = Message.objects.get(message_kind="reply")
    assert (reply.address.name, reply.body, reply.correlation_id) == (
        session_address(session),
        {"answer": "to you"},
        "c",
    )
    assert reply.state == "new"


def test_who_only_claims_to_be_a_session_is_answered_where_only_the_id_finds_it() -> None:
    desk = Mailbox("desk")
    session = str(uuid.uuid4())
    desk.deliver({"id": "q", "message_kind": "ask", "body": {"question": "?"}, "from": {"session_id": session}})
    desk.reply(drained(desk), "hm")
    assert Message.objects.get(message_kind="reply").address.name == ANSWERS
    assert desk.asked("q").answer == "hm"


def test_a_sessions_ask_is_not_answered_by_a_program() -> None:
    mine = Mailbox(session_address(uuid.uuid4()))
    asked = mine.ask("there?", timeout_secs=0)
    ask = Message.objects.get(message_id=asked.id)
    with pytest.raises(Problem) as refusal:
        mine.reply(ask, "forged")
    assert refusal.value.type == "reserved-address"
    with pytest.raises(Problem) as refusal:
        Mailbox("desk").reply(ask, "forged")
    assert refusal.value.status == 404
    assert asked.wait().status == "pending"


def test_nobody_else_writes_or_reads_what_is_wardrooms_own() -> None:
    asked = Mailbox("desk").ask("green?", timeout_secs=0)
    own = Mailbox(ANSWERS)
    forged = {"message_kind": "reply", "body": {"answer": "forged"}, "correlation_id": asked.id}
    for call in (lambda: own.deliver(forged), lambda: own.ask("?"), own.drain, own.recover):
        with pytest.raises(Problem) as refusal:
            call()
        assert refusal.value.type == "reserved-address"
    with pytest.raises(Problem, match="not valid"):
        Mailbox("desk").deliver({**forged, "id": questions.answer_id(asked.project_id, asked.id)})
    assert asked.wait().status == "pending"


def test_projects_are_apart() -> None:
    other = Project.objects.create(slug="other")
    theirs = Mailbox("desk", project=other).ask("?", id="q", timeout_secs=0)
    mine = Mailbox("desk").ask("?", id="q", timeout_secs=0)
    Mailbox("desk").reply(drained(Mailbox("desk")), "mine")
    assert (mine.wait().status, theirs.wait().status) == ("answered", "pending")
    for name in ("nothing", "a\0b", "x" * 300):
        with pytest.raises(Problem, match="no such ask"):
            Mailbox("desk").asked(name)


def test_inside_a_transaction_nobody_is_asked() -> None:
    with transaction.atomic(), pytest.raises(RuntimeError, match="outside of a transaction"):
        Mailbox("desk").ask("green?")
    assert not Message.objects.exists()


@pytest.mark.parametrize(
    ("question", "mode", "field"),
    [("", "query", "question"), ("?", "shout", "mode"), ("x" * 65_537, "query", "question")],
)
def test_what_is_no_question(question: str, mode: str, field: str) -> None:
    with pytest.raises(Problem) as refusal:
        Mailbox("desk").ask(question, mode=mode)
    assert [error["field"] for error in refusal.value.extra["errors"]] == [field]
    assert not Message.objects.exists()


def test_without_wake_ups_the_poll_finds_the_answer(
    settings: Any, monkeypatch: pytest.MonkeyPatch, timings: Any
) -> None:
    timings(hub_poll_secs=0.2)
    settings.REDIS_URL = "redis://127.0.0.1:1/0"
    monkeypatch.setattr(wakeups, "publish", lambda topics: False)
    desk = Mailbox("desk")
    held = asks(desk, timeout_secs=20)
    desk.reply(drained(desk), "found")
    assert held.result(10).answer == "found"


def test_a_listener_hears_its_topic_alone_also_before_it_waits() -> None:
    with subscription.to("ask:mine") as listener:
        wakeups.publish(["ask:other"])
        assert not listener.wait(0.2)
        wakeups.publish(["ask:other", "ask:mine"])
        assert listener.wait(5)
        assert not listener.wait(0)


def test_an_answer_outlives_the_asker_that_is_killed_while_it_waits(settings: Any) -> None:
    asker = (
        "import django; django.setup(); from mailbox import Mailbox; Mailbox('desk').ask('?', id='q', timeout_secs=60)"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", asker], env=RUN.environment() | {"DJANGO_SETTINGS_MODULE": "config.settings"}
    )
    try:
        desk = Mailbox("desk")
        ask = wait_until(lambda: desk.drain(limit=1).messages, 30)[0]
        process.kill()
        process.wait(10)
        desk.reply(ask, "still here")
        assert desk.asked("q").answer == "still here"
    finally:
        process.kill()


def test_an_answer_goes_when_admitted_messages_go(timings: Any) -> None:
    desk = Mailbox("desk")
    asked = desk.ask("green?", timeout_secs=0)
    claim = desk.drain()
    desk.reply(claim.messages[0], "yes")
    desk.ack(claim)
    assert desk.asked(asked.id).status == "answered"
    retention.sweep()
    assert Message.objects.count() == 2
    timings(keep_admitted_secs=-1)
    retention.sweep()
    assert not Message.objects.exists()


def test_an_answer_that_is_let_go_while_it_is_said_again_is_no_error(monkeypatch: pytest.MonkeyPatch) -> None:
    desk = Mailbox("desk")
    desk.ask("green?", timeout_secs=0)
    [ask] = desk.drain().messages
    first = desk.reply(ask, "yes")
    deliver = delivery.deliver

    def too_late(*args: Any, **more: Any) -> Any:
        [delivered] = deliver(*args, **more)
        Message.objects.filter(message_id=delivered.id).delete()  # As retention does.
        return [delivered]

    monkeypatch.setattr(delivery, "deliver", too_late)
    again = desk.reply(ask, "yes")
    assert (again.id, again.duplicate) == (first.id, True)
