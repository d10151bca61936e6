"""The people that a mail goes to, the time at which it goes, and the people that no longer get it."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from datetime import time as clock
from typing import Any

import pytest

from accounts import projects
from accounts.actors import Actor
from accounts.models import User
from approvals.life import ask_back
from approvals.models import Notice, NotifyPosition, NotifyPreference, Question
from approvals.notify import compose, follow, targets, texts
from approvals.rules import editing
from approvals.rules.bodies import RuleBody
from core.db.clock import database_now, read_database_clock
from core.web import request_body
from ledger.models import Delivery, Head
from tests.approvals.notify.acting import ask, decide
from tests.clock import call_at

pytestmark = pytest.mark.django_db
SELF = Actor.system("tests")


@pytest.fixture(autouse=True)
def mail(settings: Any) -> None:
    settings.EMAIL_HOST = "127.0.0.1"


@pytest.fixture
def ann(db: None) -> User:
    return User.objects.create_superuser("ann", "ann@example.com", "x")


@pytest.fixture
def bob(db: None) -> User:
    return User.objects.create_superuser("bob", "bob@example.com", "x")


def told() -> set[str]:
    """Read the feed, and return the people that will be told."""
    follow.follow()
    ids = {name.partition(":")[2] for name in Notice.objects.values_list("target", flat=True)}
    return set(User.objects.filter(pk__in=ids).values_list("username", flat=True))


def send() -> list[Delivery]:
    """Make the messages of all notices, whatever their time is."""
    follow.follow()
    Notice.objects.update(due_at=database_now())
    compose.send_due()
    return list(Delivery.objects.order_by("created_at", "receiver"))


def test_each_person_waits_for_the_wait_and_the_end_of_the_quiet_hours_that_they_chose(ann: User, bob: User) -> None:
    NotifyPreference.objects.create(user=ann, batch_secs=120)
    quiet = {"quiet_from": clock(22), "quiet_until": clock(7), "time_zone": "Europe/Vienna"}
    NotifyPreference.objects.create(user=bob, batch_secs=0, **quiet)
    ask()
    at = datetime(2026, 1, 5, 22, 30, tzinfo=UTC)
    call_at(at, follow.follow)
    due = dict(Notice.objects.values_list("target", "due_at"))
    assert due == {
        f"user:{ann.pk}": at + timedelta(seconds=120),
        f"user:{bob.pk}": datetime(2026, 1, 6, 6, tzinfo=UTC),
    }


def test_only_people_who_may_answer_and_want_mails_are_told(ann: User, bob: User) -> None:
    NotifyPreference.objects.create(user=bob, mail=False)
    User.objects.create_superuser("without_address", "", "x")
    User.objects.create_user("guest", "guest@example.com", is_staff=True)
    gone = User.objects.create_superuser("gone", "gone@example.com", "x")
    User.objects.filter(pk=gone.pk).update(is_active=False)
    ask()
    assert told() == {"ann"}


def test_only_the_people_that_a_rule_names_are_told(ann: User, bob: User) -> None:
    body = {"name": "one", "outcome": "ask", "approvers": {"users": ["ann", "bob"], "quorum": 1}}
    editing.create(projects.default().pk, request_body.convert(body, RuleBody), SELF)
    User.objects.create_superuser("carl", "carl@example.com", "x")
    ask()
    assert told() == {"ann", "bob"}


def test_the_answer_to_a_question_is_told_to_the_person_that_asked(ann: User, bob: User) -> None:
    approval = ask()
    ask_back.ask(approval.project_id, approval.pk, Actor.of_user(ann), "Why?")
    follow.follow()
    Notice.objects.all().delete()
    ask_back.answer(approval.project_id, Question.objects.get().pk, "Because.", SELF)
    assert told() == {"ann"}
    assert set(Notice.objects.values_list("kind", flat=True)) == {"answered"}


def test_one_event_is_told_to_a_bounded_number_of_people(ann: User, bob: User, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(targets, "MOST_PEOPLE", 1)
    ask()
    assert told() == {"ann"}


def test_a_mail_lists_a_bounded_number_of_requests(ann: User, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(texts, "MOST_LISTED", 2)
    for name in ("first", "second", "third"):
        ask(name)
    (row,) = send()
    assert "3 requests" in row.payload and "... and 1 more" in row.payload
    assert "third" not in row.payload


@pytest.mark.parametrize("change", [{"is_superuser": False}, {"is_active": False}, {"email": ""}])
def test_rights_are_read_again_when_the_mail_is_made(ann: User, change: dict[str, Any]) -> None:
    ask()
    assert told() == {"ann"}
    User.objects.filter(pk=ann.pk).update(**change)
    assert (send(), Notice.objects.count()) == ([], 0)


def test_a_person_may_want_no_follow_ups_and_others_get_theirs_later(ann: User, bob: User) -> None:
    carl = User.objects.create_superuser("carl", "carl@example.com", "x")
    NotifyPreference.objects.create(user=bob, settled=False)
    approval = ask()
    assert [row.receiver for row in send()] == ["ann", "bob", "carl"]
    decide(approval, ann)
    before = read_database_clock()
    assert told() == {"bob", "carl"}
    held = Notice.objects.get(target=f"user:{carl.pk}").due_at - before
    assert held >= timedelta(seconds=follow.SETTLED_HOLD_SECS)
    assert [row.receiver for row in send()[3:]] == ["carl"]


def test_a_settled_request_leaves_no_notice_for_people_that_were_not_told(ann: User, bob: User) -> None:
    approval = ask()
    assert told() == {"ann", "bob"}
    decide(approval, ann)
    assert told() == set()


def test_of_two_processes_at_one_place_of_the_feed_one_makes_the_notices(
    ann: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    project = ask().project_id

    def clock_of_the_slower_one() -> datetime:
        NotifyPosition.objects.filter(pk=project).update(cursor=Head.objects.get(pk=project).cursor)
        return read_database_clock()

    monkeypatch.setattr(follow, "read_database_clock", clock_of_the_slower_one)
    assert (follow.advance(project), Notice.objects.count()) == (0, 0)


def test_a_name_shows_no_secret_and_a_mix_of_scripts(ann: User) -> None:
    ask("curl -H 'Authorization: Bearer abcdefghijklmnopqrstuvwxyz'")
    ask("p\u0430ypal")
    (row,) = send()
    assert "abcdefghijkl" not in row.payload
    assert "mixed scripts" in row.payload
