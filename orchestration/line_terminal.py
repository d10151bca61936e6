"""The end of an attempt, as its child declares it."""

from __future__ import annotations

from datetime import datetime

from orchestration import lifecycle, line_run
from orchestration.line import Line, held
from wardroom.protocol import Terminal, text_of


def end(line: Line, frame: Terminal, *, now: datetime | None = None) -> None:
    """The rest of the transcript, then the end or the suspension: one transaction, or nothing of it."""
    with held(line):
        if frame.transcript:
            line_run.append(line, None, frame.transcript)
        if frame.status == "suspended":
            wait = lifecycle.as_wait(frame.wait_for, frame.children, frame.timeout_secs)
            lifecycle.suspend(line.session_id, line.attempt, wait, now=now)
            return
        lifecycle.finish(
            line.session_id,
            line.attempt,
            frame.status,
            result=text_of(frame.result),
            error=frame.error,
            now=now,
        )
