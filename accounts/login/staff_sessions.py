"""The signed-in staff user of a cookie, for requests that are answered before Django."""

from __future__ import annotations

from importlib import import_module
from types import SimpleNamespace
from typing import Any

from django.conf import settings
from django.contrib.auth import get_user
from django.http import parse_cookie

from accounts.models import User


def key_of(cookies: str) -> str:
    """Return the session key in a `Cookie` header, or an empty text."""
    return parse_cookie(cookies).get(settings.SESSION_COOKIE_NAME, "")


def user_of(session_key: str) -> User | None:
    """Return the session's user when they are active staff. Uses Django's own check with the password hash."""
    if not session_key:
        return None
    session = import_module(settings.SESSION_ENGINE).SessionStore(session_key)
    user: Any = get_user(SimpleNamespace(session=session))  # type: ignore[arg-type]
    return user if user.is_authenticated and user.is_active and user.is_staff else None
