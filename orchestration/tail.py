"""Show a session's events on a terminal: one line for each, and below them a status line.

Without a terminal the output is plain lines. Text of agents goes through `visible`, so that it cannot move the cursor.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from typing import TextIO
from uuid import UUID

from rich.console import Console
from rich.text import Text

from approvals import attempt_clock
from core.display.text import shortened, visible
from ledger import feed
from orchestration.models import Session
from orchestration.states import Status

POLL_SECS = 0.3
TONES = {"good": "green", "bad": "red", "ask": "yellow", "dim": "dim", "": ""}

#: The exit status for each outcome.
EXITS = {Status.COMPLETED: 0, Status.ERROR: 1, Status.TIMEOUT: 3, Status.CANCELLED: 4, Status.SKIPPED: 5}


class Screen:
    """The output. `live` means a terminal: with colours, and a status line that is overwritten."""

    def __init__(self, out: TextIO, *, live: bool) -> None:
        self._out = out
        self._console = Console(file=out, force_terminal=live, emoji=False, markup=False, highlight=False)
        self._status = self._console.status("") if live else None

    def line(self, text: str, tone: str = "") -> None:
        """Print a line that stays."""
        if self._status is None:
            # Not by the console: it would expand tabs, and a program may read this.
            self._out.write(text + "\n")
            self._out.flush()
        else:
            self._console.print(Text(text, TONES[tone]), soft_wrap=True)

    def status(self, text: str) -> None:
        """Overwrite the status line. Do nothing without a terminal."""
        if self._status is not None:
            shown = Text(text)
            shown.truncate(self._console.width - 2, overflow="ellipsis")
            self._status.update(shown)
            self._status.start()

    def close(self) -> None:
        """Remove the status line."""
        if self._status is not None:
            self._status.stop()


def follow(session_id: UUID, screen: Screen, pause: Callable[[float], None] = time.sleep) -> Session:
    """Show events until the session is over, and return the ended session."""
    began, after = time.monotonic(), 0
    try:
        while True:
            # Read the state first. Then the feed has all events from before the end.
            session = Session.objects.get(pk=session_id)
            more = True
            while more:
                page = feed.beyond(session.project_id, after, session=session.pk)
                for event in page.events:
                    screen.line(*format_event(event))
                    after = event.cursor
                more = page.more
            if session.is_terminal:
                return session
            minutes, seconds = divmod(int(time.monotonic() - began), 60)
            screen.status(f"{describe_state(session)}  {minutes}:{seconds:02d}")
            pause(POLL_SECS)
    finally:
        screen.close()


def describe_state(session: Session) -> str:
    """Return the current state in a few words."""
    clock = attempt_clock.clock(session.pk, session.attempt)
    if clock.pending and not session.is_terminal:
        return f"{session.status}: waits for a person ({clock.pending} to answer)"
    tool = f", last tool {visible(session.last_tool)}" if session.last_tool else ""
    return f"{session.status}, attempt {session.attempt}{tool}"


def format_event(event: feed.Entry) -> tuple[str, str]:
    """Return an event as one visible line, and its tone."""
    payload = {key: value for key, value in event.payload.items() if key != "type"}
    if event.seq is None and event.type.startswith("session_"):
        words = str(payload.get("reason") or "")
    elif len(payload) == 1:
        (only,) = payload.values()
        words = only if isinstance(only, str) else json.dumps(only, ensure_ascii=False)
    else:
        words = "  ".join(f"{key}={value}" for key, value in payload.items() if value not in (None, ""))
    if event.type == "approval_requested":
        tone = "ask"
    elif event.seq is not None:
        tone = "dim"
    elif event.type in ("session_error", "session_timeout", "session_cancelled", "connection_lost"):
        tone = "bad"
    else:
        tone = "good" if event.type in ("session_completed", "approval_decided") else ""
    source = " " if event.seq is None else "·"
    return f"{event.at:%H:%M:%S} {source} {visible(event.type):<22} {shortened(words, 200)}".rstrip(), tone
