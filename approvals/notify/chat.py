"""Post messages to chat rooms by apprise, which is not among the requirements of a server.

The address of a room holds its secret. It is a setting (`CHAT_URLS`), people choose a room by its name, and no error,
no log line and no row holds the address.
"""

from __future__ import annotations

import importlib.util
import logging
import re
import time
from dataclasses import dataclass

from core.limits import LIMITS

#: The characters of a room's name, as `NotifyPreference.chat` and `Notice.target` store it.
LONGEST_NAME = 40
INSTALL = ".venv/bin/pip install --require-hashes -r requirements-chat.txt"
_STATUS = re.compile(r"error=(\d{3})\b")


@dataclass(frozen=True, slots=True)
class Posted:
    """The result of one post. Without an error, every service of the room has taken the message."""

    error: str = ""
    status: int | None = None
    took_ms: int = 0


def is_installed() -> bool:
    """Return True when apprise can be imported."""
    return importlib.util.find_spec("apprise") is not None


def is_usable(url: str) -> bool:
    """Return True when apprise knows the service of this address. Raises ImportError without apprise."""
    import apprise

    return bool(apprise.Apprise().add(url))


def post(title: str, text: str, url: str) -> Posted:
    """Post one message, within the time of one try. Without a usable address it says so."""
    if not is_installed():
        return Posted(f"apprise is not installed: {INSTALL}")
    import apprise

    room, began = apprise.Apprise(), time.monotonic()
    if not url or not room.add(url):
        return Posted("CHAT_URLS has no usable address for this room")
    try:
        result = room.notify(
            title=title,
            body=text,
            body_format=apprise.NotifyFormat.TEXT,
            timeout=LIMITS.delivery_timeout_secs,
            log_level=logging.WARNING,
        )
        said = [entry.message for each in result for entry in each.logs()]
    except Exception as error:
        return Posted(f"the chat failed: {type(error).__name__}", took_ms=_since(began))
    if result:
        return Posted(took_ms=_since(began))
    # The HTTP status of the last failure. The rest of these lines may hold the address.
    found = [int(match[1]) for match in map(_STATUS.search, said) if match]
    status = found[-1] if found else None
    return Posted(f"the chat answered {status}" if status else "the chat did not take it", status, _since(began))


def _since(began: float) -> int:
    return round(1000 * (time.monotonic() - began))
