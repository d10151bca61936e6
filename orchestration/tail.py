"""Show a session's events on a terminal: one line for each, and below them a status line.

Without a terminal the output is plain lines. Text of agents goes through `visible`, so that it cannot move the cursor.
"""

from __future__ import annotations

import dataclasses
import json
import shutil
import time
from collections.abc import Callable, Iterator
from typing import TextIO
from uuid import UUID

from approvals import attempt_clock
from core.display.text import shortened, visible
from ledger import feed
from orchestration.models import Session
from orchestration.states import Status

POLL_SECS = 0.3
CLEAR = "\r\x1b[2K"
TONES = {"good": "\x1b[32m", "bad": "\x1b[31m", "ask": "\x1b[33m", "dim": "\x1b[2m", "": ""}
RESET = "\x1b[0m"
FRAMES = "⠋⠙⠹⠸⠼⠴⠦⠧⠇⠏"

#: The exit status for each outcome.
EXITS = {Status.COMPLETED: 0, Status.ERROR: 1, Status.TIMEOUT: 3, Status.CANCELLED: 4, Status.SKIPPED: 5}


@dataclasses.dataclass(slots=True)
class Screen:
    """The output. `live` means a terminal: with colours, and a status line that is overwritten."""

    out: TextIO
    live: bool
    turns: int = 0

    def line(self, text: str, tone: str = "") -> None:
        """Print a line that stays."""
        if self.live:
            self.out.write(f"{CLEAR}{TONES[tone]}{text}{RESET}\n")
        else:
            self.out.write(text + "\n")
        self.out.flush()

    def status(self, text: str) -> None:
        """Overwrite the status line. Do nothing without a terminal."""
        if not self.live:
            return
        self.turns += 1
        width = shutil.get_terminal_size().columns - 3
        self.out.write(f"{CLEAR}{FRAMES[self.turns % len(FRAMES)]} {text[:width]}")
        self.out.flush()

    def close(self) -> None:
        """Remove the status line."""
        if self.live:
            self.out.write(CLEAR)
            self.out.flush()


def follow(session_id: UUID, screen: Screen, pause: Callable[[float], None] = time.sleep) -> Session:
    """Show events until the session is over, and return the ended session."""
    began, after = time.monotonic(), 0
    try:
        while True:
            # Read the state first. Then the feed has all events from before the end.
            session = Session.objects.get(pk=session_id)
            for event in _news(session, after):
                screen.line(*format_event(event))
                after = event.cursor
            if session.is_terminal:
                return session
            minutes, seconds = divmod(int(time.monotonic() - began), 60)
            screen.status(f"{describe_state(session)}  {minutes}:{seconds:02d}")
            pause(POLL_SECS)
    finally:
        screen.close()


def _news(session: Session, after: int) -> Iterator[feed.Entry]:
    while True:
        page = feed.beyond(session.project_id, after, session=session.pk)
        yield from page.events
        if not page.more:
            return
        after = page.cursor


def describe_state(session: Session) -> str:
    """Return the current state in a few words."""
    clock = attempt_clock.clock(session.pk, session.attempt)
    if clock.pending and not session.is_terminal:
        return f"{session.status}: waits for a person ({clock.pending} to answer)"
    tool = f", last tool {visible(session.last_tool)}" if session.last_tool else ""
    return f"{session.status}, attempt {session.attempt}{tool}"


def format_event(event: feed.Entry) -> tuple[str, str]:
    """Return an event as one visible line, and its tone."""
    words = shortened(_words(event), 200)
    source = " " if event.seq is None else "·"
    return f"{event.at:%H:%M:%S} {source} {visible(event.type):<22} {words}".rstrip(), _tone(event)


def _words(event: feed.Entry) -> str:
    payload = {key: value for key, value in event.payload.items() if key != "type"}
    if event.seq is None and event.type.startswith("session_"):
        return str(payload.get("reason") or "")
    if len(payload) == 1:
        (value,) = payload.values()
        return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    return "  ".join(f"{key}={value}" for key, value in payload.items() if value not in (None, ""))


def _tone(event: feed.Entry) -> str:
    if event.type == "approval_requested":
        return "ask"
    if event.seq is not None:
        return "dim"
    if event.type in ("session_error", "session_timeout", "session_cancelled", "connection_lost"):
        return "bad"
    return "good" if event.type in ("session_completed", "approval_decided") else ""
