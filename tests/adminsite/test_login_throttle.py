"""Guessing passwords: an account is refused to one address for a while, and to nobody else."""

from __future__ import annotations

import functools
import json
from datetime import datetime, timedelta
from typing import Any

import pytest
from axes.models import AccessAttempt
from django.core.management import call_command
from django.db.models import Sum
from django.test import Client
from django.utils import timezone

from accounts.login import lockouts
from accounts.models import User
from ledger.models import AuditEntry
from tests.approvals.racing import all_at_once

pytestmark = pytest.mark.django_db
HERE, ELSEWHERE = "192.0.2.1", "192.0.2.2"


@pytest.fixture(autouse=True)
def people() -> None:
    for name in ("ann", "bob"):
        User.objects.create_superuser(name, password=f"{name}-password")


def sign_in(name: str, password: str, address: str = HERE, agent: str = "a browser") -> Any:
    form = {"username": name, "password": password}
    return Client().post("/admin/login/?next=/admin/", form, REMOTE_ADDR=address, HTTP_USER_AGENT=agent)


def guess(times: int) -> None:
    for number in range(times):
        sign_in("ann", f"guess {number}", agent=f"browser {number}")


def test_after_ten_wrong_passwords_the_right_one_is_refused_for_a_while() -> None:
    guess(9)
    assert sign_in("ann", "one more").status_code == 429
    refused = sign_in("ann", "ann-password")
    assert (refused.status_code, refused.headers["Retry-After"]) == (429, "900")
    assert "Wait 15 minutes" in refused.content.decode()


def test_other_addresses_and_other_accounts_are_let_in() -> None:
    guess(11)
    assert sign_in("ann", "ann-password", ELSEWHERE).status_code == 302
    assert sign_in("bob", "bob-password").status_code == 302


def test_it_ends_by_itself_and_tries_meanwhile_do_not_prolong_it() -> None:
    guess(12)
    assert AccessAttempt.objects.count() == 10
    for attempt in AccessAttempt.objects.all():
        attempt.attempt_time -= timedelta(seconds=901)
        attempt.save()
    assert sign_in("ann", "ann-password").status_code == 302


def test_whoever_runs_the_server_lets_somebody_in_again() -> None:
    guess(10)
    call_command("axes_reset_username", "ann")
    assert sign_in("ann", "ann-password").status_code == 302


def test_a_right_password_forgets_the_wrong_ones() -> None:
    for _ in range(3):
        guess(9)
        assert sign_in("ann", "ann-password").status_code == 302


# --- the audit row ----------------------------------------------------------------------------------------------------


def rows() -> list[AuditEntry]:
    return list(AuditEntry.objects.filter(action="login.locked_out").order_by("number"))


def test_a_lockout_leaves_one_row_however_often_the_door_is_tried() -> None:
    guess(9)
    assert rows() == []
    guess(4)
    sign_in("ann", "ann-password")
    [row] = rows()
    ann = User.objects.get(username="ann")
    told = json.loads(row.detail)
    assert (row.actor, row.subject) == ("system:sign-in", f"user:{ann.pk}")
    assert (told["name"], told["address"]) == ("ann", HERE)
    first = AccessAttempt.objects.order_by("attempt_time")[0]
    assert datetime.fromisoformat(told["until"]) == first.attempt_time + timedelta(seconds=900)


def test_the_end_that_is_told_is_when_the_login_works_again() -> None:
    for number in range(10):
        sign_in("ann", "guess", agent=f"browser {number % 2}")
    [row] = rows()
    until = datetime.fromisoformat(json.loads(row.detail)["until"])
    late = until - timedelta(seconds=900)
    # Whatever was tried up to then has expired at that moment.
    left = AccessAttempt.objects.filter(attempt_time__gt=late).aggregate(left=Sum("failures_since_start"))["left"]
    assert (left or 0) < 10


def test_each_address_and_each_lockout_has_a_row_of_its_own() -> None:
    guess(10)
    for number in range(10):
        sign_in("ann", "guess", ELSEWHERE, agent=f"browser {number}")
    assert [json.loads(row.detail)["address"] for row in rows()] == [HERE, ELSEWHERE]
    AccessAttempt.objects.update(attempt_time=timezone.now() - timedelta(seconds=901))
    guess(10)
    assert len(rows()) == 3
    call_command("axes_reset_username", "ann")
    guess(10)
    assert len(rows()) == 4


def test_a_name_that_is_no_account_has_no_row() -> None:
    for number in range(12):
        answer = sign_in("my-own-password", "x", agent=f"browser {number}")
    assert answer.status_code == 429
    assert rows() == []


@pytest.mark.django_db(transaction=True)
def test_of_many_that_record_at_once_one_writes_the_row() -> None:
    for number in range(6):
        name = f"person-{number}"
        User.objects.create_user(name)
        for agent in range(10):
            # The tries of one moment may be found in either order.
            AccessAttempt.objects.create(username=name, ip_address=HERE, user_agent=agent, failures_since_start=1)
        all_at_once([functools.partial(lockouts.record, username=name, ip_address=HERE)] * 8)
        assert len(rows()) == number + 1
