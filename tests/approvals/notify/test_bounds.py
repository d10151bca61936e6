"""The bounds of messages and of the jobs that send them, and the people, rooms and events that none is made for."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from datetime import time as clock
from typing import Any
from uuid import uuid4

import msgspec
import pytest

from accounts.models import User
from approvals.models import Notice, NotifyPreference
from approvals.notify import chat, compose, follow, senders, targets, texts
from approvals.notify.compose import Letter
from core.db.clock import database_now, read_database_clock
from ledger import unit_of_work
from ledger.models import Delivery, SkippedRow
from tests.approvals.notify.acting import ask, decide
from tests.approvals.notify.smtp import Server, serving
from tests.ledger.webhooks.receiver import receiving
from tests.limits import Timings
from tests.people import owner

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def server(settings: Any) -> None:
    settings.EMAIL_HOST, settings.CHAT_URLS = "127.0.0.1", {}


@pytest.fixture
def ann(db: None) -> User:
    return User.objects.create_superuser("ann", "ann@example.com", "x")


@pytest.fixture
def smtp(settings: Any) -> Iterator[Server]:
    with serving() as one:
        settings.EMAIL_BACKEND = "django.core.mail.backends.smtp.EmailBackend"
        settings.EMAIL_HOST, settings.EMAIL_PORT = "127.0.0.1", one.port
        settings.EMAIL_USE_TLS = settings.EMAIL_USE_SSL = False
        yield one


def targets_now() -> set[str]:
    follow.follow()
    return set(Notice.objects.values_list("target", flat=True))


def send() -> Letter:
    """Make the message of all notices, and return the words of the latest one."""
    follow.follow()
    Notice.objects.update(due_at=database_now())
    compose.send_due()
    return msgspec.json.decode(Delivery.objects.latest("created_at").payload, type=Letter)


def letters(*subjects: str) -> list[senders.Sent]:
    return [(uuid4(), Letter(to="ann@example.com", subject=each, text="text")) for each in subjects]


def test_a_follow_up_names_a_bounded_number_of_requests_and_of_earlier_messages(
    ann: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = []
    for name in ("first", "second", "third"):
        asked.append(ask(name))
        send()
    decider = owner("bob")
    for each in asked:
        decide(each, decider)
    monkeypatch.setattr(texts, "MOST_LISTED", 2)
    monkeypatch.setattr(compose, "MOST_REFERENCES", 2)
    letter = send()
    assert "second: approved by bob" in letter.text and "third" not in letter.text
    assert "... and 1 more" in letter.text
    assert len(letter.references) == 2


def test_an_event_of_a_child_and_one_of_a_request_that_is_gone_are_told_to_nobody(ann: User) -> None:
    approval = ask()
    assert targets_now() == {f"user:{ann.pk}"}
    Notice.objects.all().delete()
    with unit_of_work.transaction():
        payload = {"approval_id": str(approval.pk)}
        unit_of_work.child_event(approval.project_id, "approval_reminded", payload, session=uuid4(), attempt=1, seq=1)
        unit_of_work.event(approval.project_id, "approval_reminded", {"approval_id": str(uuid4())})
    assert targets_now() == set()
    assert not SkippedRow.objects.exists()


def test_a_request_that_was_settled_is_told_to_nobody_also_before_its_end_is_read(
    ann: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    approval = ask()
    assert targets_now() == {f"user:{ann.pk}"}
    decide(approval, owner("bob"))
    Notice.objects.update(due_at=database_now())
    assert (compose.send_due(), Delivery.objects.count()) == (0, 0)
    # Of one that was settled before its begin is read, no notice is made.
    follow.follow()
    later_one = ask("later")
    decide(later_one, owner("bob"))
    monkeypatch.setattr(follow, "SPAN", 1)
    follow.advance(later_one.project_id)
    assert not Notice.objects.exists()


def test_the_end_of_a_request_is_told_only_to_those_that_were_told_of_it(ann: User) -> None:
    approval = ask()
    follow.follow()
    Notice.objects.all().delete()
    Notice.objects.create(target=f"user:{ann.pk}", approval=approval, kind="settled", due_at=database_now())
    assert (compose.send_due(), Notice.objects.count()) == (0, 0)


@pytest.mark.parametrize("wish", [{}, {"chat": "gone"}])
def test_nothing_is_made_for_a_server_or_a_room_that_is_not_set(ann: User, settings: Any, wish: dict[str, Any]) -> None:
    settings.EMAIL_HOST, settings.CHAT_URLS = "", {"ops": "json://127.0.0.1:1/"}
    NotifyPreference.objects.create(user=ann, **wish)
    ask()
    assert targets_now() == set()


def test_requests_of_before_the_mail_server_was_set_are_told(ann: User, settings: Any) -> None:
    settings.EMAIL_HOST = ""
    ask()
    assert targets_now() == set()
    settings.EMAIL_HOST = "127.0.0.1"
    assert targets_now() == {f"user:{ann.pk}"}


def test_a_room_is_told_when_the_first_of_its_people_wants_to_hear_of_it(ann: User, settings: Any) -> None:
    settings.EMAIL_HOST, settings.CHAT_URLS = "", {"ops": "json://127.0.0.1:1/"}
    NotifyPreference.objects.create(user=ann, chat="ops", batch_secs=10)
    NotifyPreference.objects.create(user=owner("bob"), chat="ops", batch_secs=3600)
    ask()
    assert targets_now() == {"room:ops"}
    assert Notice.objects.get().due_at < read_database_clock() + timedelta(seconds=60)


@pytest.mark.parametrize(("hour", "until"), [(8, 8), (9, 17), (12, 17), (17, 17), (20, 20)])
def test_quiet_hours_may_lie_within_a_day(hour: int, until: int) -> None:
    wish = NotifyPreference(quiet_from=clock(9), quiet_until=clock(17), time_zone="UTC")
    at = datetime(2026, 1, 5, hour, tzinfo=UTC)
    assert targets.after_quiet(wish, at) == at.replace(hour=until)


def test_a_mail_that_cannot_be_made_is_given_up_and_stops_no_other(smtp: Server) -> None:
    outcomes = senders._mail_all(letters("a\r\nBcc: evil@example.com", "good"))
    assert [(each.is_sent, each.is_final, each.blames) for each in outcomes] == [
        (False, True, False),
        (True, False, True),
    ]
    assert [mail["Subject"] for mail in smtp.mails] == ["good"]


def test_a_server_that_fails_gets_no_further_mail_of_the_job(smtp: Server) -> None:
    smtp.refuses = {"MAIL": b"451 later"}
    assert [each.is_sent for each in senders._mail_all(letters("one", "two"))] == [False]


def test_a_room_that_fails_gets_no_further_message_of_the_job() -> None:
    with receiving() as room:
        room.answers = [500]
        outcomes = senders._chat_all(letters("one", "two"), f"json://127.0.0.1:{room.port}/")
    assert [each.is_sent for each in outcomes] == [False]


def test_a_job_ends_when_its_time_is_over(smtp: Server, timings: Timings) -> None:
    with receiving() as room, timings(delivery_timeout_secs=0):
        assert len(senders._chat_all(letters("one", "two"), f"json://127.0.0.1:{room.port}/")) == 1
        assert len(senders._mail_all(letters("one", "two"))) == 1


def test_a_mail_server_that_is_silent_is_given_up_by_its_connection(smtp: Server, timings: Timings) -> None:
    smtp.hangs.set()
    with timings(delivery_timeout_secs=0.2):
        [outcome] = senders._mail_all(letters("one"))
    assert outcome.error.startswith("no connection")


def test_a_fault_of_the_chat_library_is_an_error_without_its_words(monkeypatch: pytest.MonkeyPatch) -> None:
    import apprise

    def fails(self: Any, **words: Any) -> bool:
        raise RuntimeError("json://token-of-the-room")

    monkeypatch.setattr(apprise.Apprise, "notify", fails)
    assert chat.post("title", "text", "json://127.0.0.1:1/").error == "the chat failed: RuntimeError"
