"""Guessing passwords: an account is refused to one address for a while, and to nobody else."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from axes.models import AccessAttempt
from django.core.management import call_command
from django.test import Client

from accounts.models import User

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
