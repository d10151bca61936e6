"""End or suspend an attempt at its child's `terminal` frame."""

from __future__ import annotations

from ledger import quota
from orchestration.connections import run
from orchestration.connections.fencing import Claim, fenced_transaction
from orchestration.sessions import lifecycle
from wardroom.protocol import Terminal, text_of

ROWS_OF_AN_ATTEMPT = 10


def end(connection: Claim, frame: Terminal) -> None:
    """Store the rest of the transcript and end or suspend the attempt, all in one transaction."""
    with fenced_transaction(connection):
        if frame.transcript:
            run.append(connection, None, frame.transcript)
        if frame.status == "suspended":
            # Each suspension may begin another attempt, with its rows and events.
            quota.keep(connection.session_id, rows=ROWS_OF_AN_ATTEMPT)
            wait = lifecycle.as_wait(frame.wait_for, frame.children, frame.timeout_secs)
            lifecycle.suspend(connection.session_id, connection.attempt, wait)
            return
        lifecycle.finish(
            connection.session_id, connection.attempt, frame.status, result=text_of(frame.result), error=frame.error
        )
