"""Reading the environment, with types and with errors that name the variable."""

from __future__ import annotations

import json
import os
from typing import Any

from django.core.exceptions import ImproperlyConfigured


def text(name: str, default: str = "") -> str:
    """The variable, trimmed; the default when it is unset or empty."""
    return os.environ.get(name, "").strip() or default


def required(name: str, why: str) -> str:
    """The variable, or a refusal to start that says what it is for."""
    value = text(name)
    if not value:
        raise ImproperlyConfigured(f"{name} is not set. {why}")
    return value


def flag(name: str) -> bool:
    """True for 1, true, yes, on; False for unset, empty, 0, false, no, off; anything else is refused."""
    value = text(name).lower()
    if value in ("1", "true", "yes", "on"):
        return True
    if value in ("", "0", "false", "no", "off"):
        return False
    raise ImproperlyConfigured(f"{name} is {value!r}; say 1 or 0.")


def number(name: str, default: int) -> int:
    """A whole number."""
    value = text(name)
    try:
        return int(value) if value else default
    except ValueError:
        raise ImproperlyConfigured(f"{name} is {value!r}; say a whole number.") from None


def words(name: str) -> list[str]:
    """A comma-separated list, blanks dropped."""
    return [word.strip() for word in text(name).split(",") if word.strip()]


def mapping(name: str) -> dict[str, Any]:
    """A JSON object."""
    value = text(name)
    try:
        decoded = json.loads(value) if value else {}
    except ValueError:
        decoded = None
    if not isinstance(decoded, dict):
        raise ImproperlyConfigured(f"{name} is not a JSON object.")
    return decoded
