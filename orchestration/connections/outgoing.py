"""Read the frames that are due on a connection from the rows: after a wake-up, after a poll and after a reconnect.

There are two lists, decisions first: a decision never waits behind a message, and a cancel waits behind neither. Each
thing is sent once within a connection. `ConnectionState` records that.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from core.db.clock import database_now
from core.limits import LIMITS
from orchestration.connections import approvals
from orchestration.connections import run as connection_run
from orchestration.connections.fencing import Claim, check, fenced_transaction
from orchestration.models import Attempt
from orchestration.states import Status
from wardroom.protocol import ApprovalQuestion, ApprovalReply, Cancel, Frame, PolicyChanged


@dataclass(slots=True)
class ConnectionState:
    """The frames that one connection has sent already; all that a connection remembers."""

    need_run: bool = False
    cancel: bool = False
    run: bool = False
    policy_version: int | None = None
    questions: set[str] = field(default_factory=set)
    decisions: set[str] = field(default_factory=set)
    asking: set[str] = field(default_factory=set)
    held_back: set[str] = field(default_factory=set)
    message_seq: int = 0

    def registered(self, id: str) -> bool:
        """Note that the registration of a request is written. Return True if its decision was held back for it."""
        self.asking.discard(id)
        return self.is_owed

    @property
    def is_owed(self) -> bool:
        """True if a decision was held back for a registration that is written by now: read the rows again.

        Ask on the event loop after each look and after each registration. A look runs in a thread, so either of the two
        may come last.
        """
        return not self.held_back <= self.asking


def urgent(connection: Claim, state: ConnectionState) -> list[Frame]:
    """Return the frames that never wait behind messages: cancel, run, changed rules, decisions.

    Raises ConnectionRejected.

    The returned frames count as sent: the caller writes them, or loses the connection and `state` with it. So `state`
    changes after the last read: a read that fails returns no frames, and the next look returns all of them.
    """
    standing = check(connection)
    frames: list[Frame] = []
    if standing.cancel_requested and not state.cancel:
        frames.append(Cancel(reason=standing.cancel_reason, grace_secs=_grace()))
    wants_run = connection.plain or state.need_run or not standing.run_acked
    sends_run = wants_run and not state.run and not standing.cancel_requested
    if sends_run:
        frames.append(connection_run.run(connection))
    if standing.policy_version != state.policy_version and standing.policy_version and not connection.plain:
        # At the begin of each connection too: a child that was away compares the version with the one that it knows.
        frames.append(PolicyChanged(version=standing.policy_version))
    due_frames = approvals.undelivered(connection, need_run=state.need_run)
    replies = [frame for frame in due_frames if isinstance(frame, ApprovalReply)]
    questions = [frame for frame in due_frames if isinstance(frame, ApprovalQuestion)]
    asked_back = [question for question in questions if question.id not in state.questions]
    # A request that is being registered gets its registration first, then its decision. Check this after the query:
    # a request that was registered and decided before the query is in `asking` by then.
    due = [reply for reply in replies if reply.id not in state.decisions]
    asking = set(state.asking)
    state.held_back = {reply.id for reply in due if reply.id in asking}
    fresh = [reply for reply in due if reply.id not in asking]
    state.cancel, state.run = state.cancel or standing.cancel_requested, state.run or sends_run
    state.policy_version = standing.policy_version
    state.decisions.update(reply.id for reply in fresh)
    state.questions.update(question.id for question in asked_back)
    return [*frames, *fresh, *asked_back]


def final_frames(connection: Claim, state: ConnectionState) -> list[Frame]:
    """Return the cancel that the child of a timed-out or cancelled attempt should get before the close."""
    attempt = Attempt.objects.select_related("session").filter(**connection.row(), connection=connection.number).first()
    if state.cancel or attempt is None or attempt.status not in (Status.TIMEOUT, Status.CANCELLED):
        return []
    return [Cancel(reason=attempt.reason or attempt.status, grace_secs=_grace(), ended=attempt.status)]


def note_cancel(connection: Claim) -> None:
    """Record that the cancel was written to the socket."""
    with fenced_transaction(connection):
        Attempt.objects.filter(**connection.row(), cancel_sent_at=None).update(cancel_sent_at=database_now())


def _grace() -> float:
    return float(LIMITS.cancel_grace_secs)
