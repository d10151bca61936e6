"""Detect SIGTERM early so that open streams end at once.

An ASGI server waits for its open responses before it exits, and an event stream has no end of its own. The server's own
signal handlers stay; ours runs before them.
"""

from __future__ import annotations

import asyncio
import signal
import threading
from types import FrameType
from typing import Any

from ledger import hub

_SIGNALS = (signal.SIGTERM, signal.SIGINT)
_asked = False
_watching = False


def asked() -> bool:
    """Return True once this process was told to stop."""
    return _asked


def watch() -> None:
    """Detect SIGTERM and SIGINT from now on. Call it from the event loop, after the server has set its handlers."""
    global _watching
    if _watching or threading.current_thread() is not threading.main_thread():
        return
    _watching = True
    loop, current_hub = asyncio.get_running_loop(), hub.get()
    previous: dict[int, Any] = {number: signal.getsignal(number) for number in _SIGNALS}

    def noticed(received: int, frame: FrameType | None) -> None:
        global _asked
        _asked = True
        if not loop.is_closed():
            loop.call_soon_threadsafe(current_hub.wake_all)
        if callable(previous[received]):
            previous[received](received, frame)

    for number in _SIGNALS:
        signal.signal(number, noticed)
