"""Mails about requests: to those who may answer, without a right in them, and never at the cost of a request."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from datetime import time as clock
from typing import Any

import pytest
from django.test import Client

from accounts.actors import Actor
from accounts.models import Project, User
from approvals.life import routing
from approvals.models import Approval, Notice, NotifyPreference, Told
from approvals.notify import targets
from core.db.clock import database_now
from ledger import unit_of_work
from ledger.deliveries import round
from ledger.models import Delivery, Lane, SkippedRow
from tests.approvals.notify.acting import ask, decide, send_all
from tests.approvals.notify.smtp import Server, serving
from tests.limits import Timings

pytestmark = pytest.mark.django_db


@pytest.fixture
def smtp(settings: Any) -> Iterator[Server]:
    with serving() as server:
        settings.EMAIL_BACKEND = "django.core.mail.backends.smtp.EmailBackend"
        settings.EMAIL_HOST, settings.EMAIL_PORT = "127.0.0.1", server.port
        settings.EMAIL_USE_TLS = settings.EMAIL_USE_SSL = False
        yield server


@pytest.fixture
def ann(db: None) -> User:
    return User.objects.create_superuser("ann", "ann@example.com", "x")


@pytest.fixture
def bob(db: None) -> User:
    return User.objects.create_superuser("bob", "bob@example.com", "x")


def test_one_mail_for_many_requests_and_a_follow_up_in_its_thread(smtp: Server, ann: User, bob: User) -> None:
    first, second = ask(), ask("drop", arguments={"password": "hidden"})
    send_all()
    assert sorted(mail["To"] for mail in smtp.mails) == ["ann@example.com", "bob@example.com"]
    mail = next(mail for mail in smtp.mails if mail["To"] == "bob@example.com")
    text = mail.get_payload()
    assert mail["Subject"] == "[Wardroom] 2 requests wait for an answer"
    assert mail["Auto-Submitted"] == "auto-generated"
    assert str(first.pk) in text and str(second.pk) in text
    assert "hidden" not in text and "secret-place" not in text
    decide(first, ann)
    send_all()
    # Ann decided, and needs no word of it.
    (follow_up,) = smtp.mails[2:]
    assert (follow_up["To"], follow_up["References"]) == ("bob@example.com", mail["Message-ID"])
    assert "approved by ann" in follow_up.get_payload()


def test_a_request_that_is_settled_before_the_mail_is_told_to_nobody(smtp: Server, ann: User) -> None:
    decide(ask(), ann)
    send_all()
    assert (smtp.mails, Told.objects.count()) == ([], 0)


def test_a_request_that_was_handed_to_one_is_told_to_that_one(smtp: Server, ann: User, bob: User) -> None:
    NotifyPreference.objects.create(user=ann, mail=False)
    approval = ask()
    routing.delegate(approval.project_id, approval.pk, Actor.of_user(bob), user="ann")
    NotifyPreference.objects.update(mail=True)
    round.run()
    assert {each.target for each in Notice.objects.filter(kind="delegated")} == {f"user:{ann.pk}"}


@pytest.mark.parametrize(("refuses", "says"), [({"DATA": b"451 later"}, "later"), ({"MAIL": b"550 no"}, "no")])
def test_a_mail_keeps_its_message_id_through_refusals_and_its_follow_up_names_it(
    smtp: Server, ann: User, bob: User, refuses: dict[str, bytes], says: str
) -> None:
    smtp.refuses = refuses
    approval = ask()
    for _ in range(2):
        send_all()
    assert [row.state for row in Delivery.objects.all()] == ["waiting"] * 2
    assert says in Delivery.objects.order_by("-tries")[0].last_error
    smtp.refuses = {}
    for _ in range(2):
        send_all()
    rows = {row.receiver: row for row in Delivery.objects.all()}
    assert min(row.tries for row in rows.values()) >= 1 and max(row.tries for row in rows.values()) >= 2
    # The server got the text of a 451 too: a repeated mail has the id of the first.
    for name in ("ann", "bob"):
        got = {mail["Message-ID"] for mail in smtp.mails if mail["To"] == f"{name}@example.com"}
        assert got == {f"<{rows[name].pk.hex}@testserver>"}
    decide(approval, ann)
    send_all()
    follow_up = smtp.mails[-1]
    asked = f"<{rows['bob'].pk.hex}@testserver>"
    assert (follow_up["References"], follow_up["In-Reply-To"]) == (asked, asked)
    assert follow_up["Message-ID"] == f"<{Delivery.objects.latest('created_at').pk.hex}@testserver>" != asked


def test_a_refused_person_does_not_stop_the_mails_of_others(smtp: Server, ann: User, bob: User) -> None:
    smtp.refuses = {"RCPT": b"550 nobody"}
    ask()
    send_all()
    assert {row.state for row in Delivery.objects.all()} == {"failed"}
    assert Lane.objects.get(name="mail:smtp").failures == 0


def test_a_server_that_hangs_or_is_away_neither_fails_nor_slows_a_request(
    smtp: Server, ann: User, timings: Timings, settings: Any
) -> None:
    smtp.hangs.set()
    began = time.monotonic()
    ask()
    assert time.monotonic() - began < 2
    with timings(delivery_timeout_secs=0.3):
        send_all()
    assert Delivery.objects.get().state == "waiting" and "no connection" in Delivery.objects.get().last_error
    settings.EMAIL_PORT = 1
    ask()
    send_all()
    assert Approval.objects.pending().count() == 2


def test_a_server_that_drips_ends_the_job(smtp: Server, ann: User, timings: Timings) -> None:
    smtp.drips.set()
    ask()
    with timings(delivery_timeout_secs=0.2):
        send_all()
    assert Delivery.objects.get().last_error.startswith("not sent within 0.6")


def test_no_name_adds_a_header_or_hides_a_character(smtp: Server, ann: User) -> None:
    ask("x\r\nBcc: evil@example.com\u202e")
    send_all()
    (mail,) = smtp.mails
    assert mail["Bcc"] is None
    assert "\\u{d}\\u{a}Bcc" in str(mail["Subject"]).replace("\n", "") and "\\u{202e}" in mail.get_payload()


def test_a_scanner_that_follows_every_link_decides_nothing(smtp: Server, ann: User) -> None:
    approval = ask()
    send_all()
    links = re.findall(r"https?://\S+", smtp.mails[0].get_payload())
    signed_in = Client()
    signed_in.force_login(ann)
    for link in links:
        path = "/" + link.split("/", 3)[3]
        assert Client().get(path).status_code == 302
        assert signed_in.get(path).status_code == 200
    approval.refresh_from_db()
    assert links and approval.status == "pending"


def test_quiet_hours_end_in_the_zone_of_the_person() -> None:
    wish = NotifyPreference(quiet_from=clock(22), quiet_until=clock(7), time_zone="Europe/Vienna")
    at = datetime(2026, 1, 5, 22, 30, tzinfo=UTC)
    assert targets.after_quiet(wish, at) == datetime(2026, 1, 6, 6, tzinfo=UTC)
    assert targets.after_quiet(wish, at + timedelta(hours=9)) == at + timedelta(hours=9)


def test_a_row_that_cannot_be_processed_stops_no_other(smtp: Server, ann: User) -> None:
    other = Project.objects.create(slug="a-broken-one")
    with unit_of_work.transaction():
        unit_of_work.event(other.pk, "approval_requested", {"approval_id": "none"})
    Notice.objects.create(target="user:broken", approval=ask(), kind="requested", due_at=database_now())
    send_all()
    assert [mail["To"] for mail in smtp.mails] == ["ann@example.com"]
    assert set(SkippedRow.objects.values_list("work", flat=True)) == {"people", "notices"}
