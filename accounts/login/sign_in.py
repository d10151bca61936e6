"""The lifetime of a staff login: it ends after some idle hours, and after some days at most."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from django.contrib.auth import logout
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render

from core.limits import LIMITS
from core.web import callers

#: Seconds between two writes of a session, so that viewing pages rarely writes.
RENEWED_EVERY_SECS = 60
SINCE, SEEN = "signed_in_at", "seen_at"


class IdleLimit:
    """Middleware: a page that a person requests extends the login. A page that updates itself does not.

    The end is stored in the session's row, so event streams, which are answered before Django, obey it too.
    """

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self._get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        user: Any = request.user
        if user.is_authenticated:
            callers.prove(request, f"user:{user.pk}")
        asked_for = user.is_authenticated and request.headers.get("X-Requested-With") != "live"
        session, now = request.session, time.time()
        if asked_for and abs(now - session.get(SEEN, 0.0)) >= RENEWED_EVERY_SECS:
            since = session.get(SINCE, now)
            left = since + LIMITS.login_longest_secs - now
            if left <= 0:
                logout(request)  # It has reached its longest lifetime.
            else:
                session[SINCE], session[SEEN] = since, now
                session.set_expiry(int(min(LIMITS.login_idle_secs, left)) or 1)
        return self._get_response(request)


def locked_out(request: HttpRequest, response: HttpResponse | None, credentials: Any) -> HttpResponse:
    """Answer 429: too many wrong passwords for this account from this address.

    django-axes counts them in the database.
    """
    secs = LIMITS.login_lockout_secs
    context = {"title": "Too many tries", "minutes": max(1, round(secs / 60))}
    answer = render(request, "admin/accounts/locked_out.html", context, status=429)
    answer["Retry-After"] = str(int(secs))
    return answer
