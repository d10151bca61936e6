"""A refused call is no fault of this server, and its log line does not look like one."""

from __future__ import annotations

import logging

import pytest
from django.http import HttpRequest, HttpResponse
from django.test import Client, override_settings
from django.urls import path

pytestmark = pytest.mark.once


def answer(request: HttpRequest, status: int) -> HttpResponse:
    return HttpResponse(status=status)


urlpatterns = [path("<int:status>", answer)]


def lines(caplog: pytest.LogCaptureFixture, *statuses: int) -> list[tuple[str, str]]:
    with override_settings(ROOT_URLCONF=__name__, MIDDLEWARE=[]):
        for status in statuses:
            assert Client().get(f"/{status}").status_code == status
    return [(record.levelname, record.getMessage()) for record in caplog.records if record.name == "django.request"]


def test_a_refusal_is_logged_at_info_and_an_error_as_an_error(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    assert lines(caplog, 200, 409, 422, 503) == [
        ("INFO", "Conflict: /409"),
        ("INFO", "Unprocessable Entity: /422"),
        ("ERROR", "Service Unavailable: /503"),
    ]


def test_a_refusal_is_not_logged_where_only_warnings_are(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.WARNING)
    assert [level for level, _ in lines(caplog, 409, 503)] == ["ERROR"]
