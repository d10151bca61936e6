"""Read the environment with types. Errors name the variable."""

from __future__ import annotations

import json
import os
from typing import Any

from django.core.exceptions import ImproperlyConfigured


def text(name: str, default: str = "") -> str:
    """Return the trimmed variable, or the default when it is unset or empty."""
    return os.environ.get(name, "").strip() or default


def required(name: str, why: str) -> str:
    """Return the variable, or raise ImproperlyConfigured with its purpose."""
    value = text(name)
    if not value:
        raise ImproperlyConfigured(f"{name} is not set. {why}")
    return value


def flag(name: str, *, default: bool = False) -> bool:
    """Return True for 1, true, yes, on; False for 0, false, no, off; the default when unset or empty.

    Raises ImproperlyConfigured for any other value.
    """
    value = text(name).lower()
    if value in ("1", "true", "yes", "on"):
        return True
    if value in ("0", "false", "no", "off"):
        return False
    if value:
        raise ImproperlyConfigured(f"{name} is {value[:60]!r}; use 1 or 0.")
    return default


def number(name: str, default: int, *, low: int, high: int) -> int:
    """Return a whole number within these bounds."""
    value = text(name)
    if not value:
        return default
    if not value.isascii() or not value.isdecimal() or len(value) > 18 or not low <= int(value) <= high:
        raise ImproperlyConfigured(f"{name} is {value[:60]!r}; use a whole number from {low} to {high}.")
    return int(value)


def choice(name: str, default: str, *known: str) -> str:
    """Return one of the known words, in upper case. The case of the variable does not matter."""
    value = text(name, default).upper()
    if value not in known:
        raise ImproperlyConfigured(f"{name} is {value[:60]!r}; use one of {', '.join(known)}.")
    return value


def words(name: str) -> list[str]:
    """Return a comma-separated list without blank items."""
    return [word.strip() for word in text(name).split(",") if word.strip()]


def mapping(name: str) -> dict[str, Any]:
    """Return a JSON object."""
    value = text(name)
    try:
        decoded = json.loads(value) if value else {}
    except (ValueError, RecursionError):
        decoded = None
    if not isinstance(decoded, dict):
        raise ImproperlyConfigured(f"{name} is not a JSON object.")
    return decoded


def texts(name: str) -> dict[str, str]:
    """Return a JSON object whose members are texts."""
    found = mapping(name)
    for key, value in found.items():
        if not isinstance(value, str) or not value or not key.strip():
            raise ImproperlyConfigured(f"{name}: {key[:60]!r} is {str(value)[:60]!r}; use a name and a text.")
    return found
