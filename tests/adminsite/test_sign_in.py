"""The length of a login, and the page after it."""

from __future__ import annotations

import logging
import re
import time
from datetime import timedelta
from typing import Any

import pytest
from django.contrib.sessions.models import Session
from django.test import Client
from django.utils import timezone

from accounts.login.staff_sessions import user_of
from accounts.models import User
from core.limits import LIMITS

pytestmark = pytest.mark.django_db
PAGE = "/admin/"


@pytest.fixture
def client(db: None) -> Client:
    User.objects.create_superuser("super", password="super-password")
    client = Client()
    assert client.post("/admin/login/?next=/admin/", NAMES).status_code == 302
    return client


NAMES = {"username": "super", "password": "super-password"}


def ends_in(client: Client) -> float:
    row = Session.objects.get(pk=client.session.session_key)
    return (row.expire_date - timezone.now()).total_seconds()


def later(monkeypatch: pytest.MonkeyPatch, secs: float) -> None:
    """As if so much time had passed since the login."""
    now = time.time()
    monkeypatch.setattr(time, "time", lambda: now + secs)


def test_a_login_ends_after_the_idle_limit(client: Client, settings: Any) -> None:
    client.get(PAGE)
    limit = LIMITS.login_idle_secs
    assert limit - 60 < ends_in(client) <= limit
    Session.objects.update(expire_date=timezone.now())
    assert client.get(PAGE).status_code == 302
    assert user_of(client.cookies["sessionid"].value) is None


def test_a_page_that_a_person_asks_for_keeps_them_signed_in_and_one_that_updates_itself_does_not(
    client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    client.get(PAGE)
    Session.objects.update(expire_date=timezone.now() + timedelta(seconds=100))
    later(monkeypatch, 3600)
    client.get(PAGE, headers={"X-Requested-With": "live"})
    assert ends_in(client) <= 100
    client.get(PAGE)
    assert ends_in(client) > 3600


def test_no_login_lasts_longer_than_the_longest(client: Client, settings: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    client.get(PAGE)
    longest = LIMITS.login_longest_secs
    later(monkeypatch, longest - 600)
    assert client.get(PAGE).status_code == 200
    assert ends_in(client) <= 600
    later(monkeypatch, 700)
    assert client.get(PAGE).status_code == 302


def test_a_login_whose_next_is_refused_leads_to_the_front_page(client: Client) -> None:
    answer = Client().post("/admin/login/?next=https://elsewhere.example/", NAMES)
    assert (answer.status_code, answer["Location"]) == (302, PAGE)


def test_a_session_that_somebody_prepared_is_no_login_of_the_person_that_signs_in_with_it(client: Client) -> None:
    prepared = Client().session
    prepared["planted"] = 1
    prepared.save()
    victim = Client()
    victim.cookies["sessionid"] = prepared.session_key
    assert victim.post("/admin/login/?next=/admin/", NAMES).status_code == 302
    assert victim.cookies["sessionid"].value != prepared.session_key
    assert user_of(victim.cookies["sessionid"].value) is not None
    assert user_of(prepared.session_key or "") is None
    cookie = victim.cookies["sessionid"]
    assert (cookie["httponly"], cookie["samesite"]) == (True, "Lax")


def test_a_name_that_is_no_account_is_refused_as_a_wrong_password_is(client: Client) -> None:
    tries = [NAMES | {"password": "wrong"}, NAMES | {"username": "nobody", "password": "wrong"}]
    answers = [Client().post("/admin/login/?next=/admin/", said) for said in tries]
    assert [each.status_code for each in answers] == [200, 200]
    known, unknown = (
        re.sub(r'name="csrfmiddlewaretoken" value="\w+"|value="(super|nobody)"|name="wr-now" content="[^"]+"', "", text)
        for text in (each.content.decode() for each in answers)
    )
    assert known == unknown


def test_a_login_logs_no_line_of_axes_but_its_warnings(db: None, caplog: pytest.LogCaptureFixture) -> None:
    User.objects.create_superuser("super", password="super-password")
    with caplog.at_level(logging.INFO):
        refused = Client().post("/admin/login/?next=/admin/", NAMES | {"password": "wrong"})
        client = Client()
        assert (refused.status_code, client.post("/admin/login/?next=/admin/", NAMES).status_code) == (200, 302)
        client.post("/admin/logout/")
    of_axes = [record for record in caplog.records if record.name.startswith("axes")]
    assert [record.levelname for record in of_axes] == ["WARNING"]


def test_the_page_after_a_logout_says_so_and_leads_back(client: Client) -> None:
    page = client.post("/admin/logout/").content.decode()
    assert "You are signed out" in page and "Sign in again" in page
    assert f'href="{PAGE}"' in page
    assert "quality time" not in page
