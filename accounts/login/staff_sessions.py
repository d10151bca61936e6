"""Who has signed in to the admin, by the cookie alone: for what is answered before Django."""

from __future__ import annotations

from importlib import import_module
from types import SimpleNamespace
from typing import Any

from django.conf import settings
from django.contrib.auth import get_user
from django.http import parse_cookie

from accounts.models import User


def key_of(cookies: str) -> str:
    """The session key in a `Cookie` header, or nothing."""
    return parse_cookie(cookies).get(settings.SESSION_COOKIE_NAME, "")


def user_of(session_key: str) -> User | None:
    """Who holds this session now, if they are active staff. Django's own check, password hash included."""
    if not session_key:
        return None
    session = import_module(settings.SESSION_ENGINE).SessionStore(session_key)
    user: Any = get_user(SimpleNamespace(session=session))  # type: ignore[arg-type]
    return user if user.is_authenticated and user.is_active and user.is_staff else None
