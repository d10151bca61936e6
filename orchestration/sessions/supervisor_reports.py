"""Receive the reports of a supervisor: its process is alive, or has ended.

The answer tells it when to kill the process.

A supervisor authenticates with its attempt's token. It is still accepted after the attempt is over, because it may
still have a process to report or to kill.
"""

import dataclasses
import signal
from uuid import UUID

from django.db.models import Q

from accounts import credentials
from accounts.models import CredentialKind
from core.db.clock import database_now, later
from core.limits import LIMITS
from core.web import problems
from ledger import unit_of_work
from ledger.outages import STEP_SECS
from orchestration import presence
from orchestration.models import Attempt
from orchestration.sessions import dispatch, lifecycle, transitions

#: The last frames of an exited process may still be on their way while its connection is open.
LAST_WORDS_SECS = 2


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Life:
    """Supervisor -> Wardroom: the process id of the supervisor, the process group of the child, and the host."""

    pid: int
    pgid: int
    host: str


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Exit:
    """Supervisor -> Wardroom: the end of the process. One of the two numbers is None."""

    exit_status: int | None
    exit_signal: int | None
    stderr_tail: str

    def __str__(self) -> str:
        if self.exit_signal is None:
            return f"exited with status {self.exit_status}"
        try:
            return f"killed by signal {self.exit_signal} ({signal.Signals(self.exit_signal).name})"
        except ValueError:
            return f"killed by signal {self.exit_signal}"


def alive(token: str, session_id: UUID, number: int, life: Life) -> str | None:
    """Record that the process lives. Return the reason to kill it, or None while it may continue. Raises 401."""
    _recognise(token, session_id, number)
    attempts = Attempt.objects.filter(session=session_id, number=number)
    attempts.update(supervisor_seen_at=database_now(), supervisor_pid=life.pid, pid=life.pgid, host=life.host)
    # A kill is due after the grace of a cancel at the latest. A later time means that the clock was set back after the
    # request, so the kill is due now.
    odd = Q(kill_requested_at__gt=later(LIMITS.cancel_grace_secs + STEP_SECS))
    over = attempts.filter(Q(kill_requested_at__lte=database_now()) | odd).values_list("status", "reason").first()
    return f"{over[0]}: {over[1]}" if over else None


def exited(token: str, session_id: UUID, number: int, how: Exit) -> str:
    """Record the end of the process once, and return the session's status after it. Raises 401.

    The end of the process also ends an open attempt: at once, or, while its connection is still open, by the sweeper
    after the last frames had two seconds to arrive.
    """
    _recognise(token, session_id, number)
    with unit_of_work.transaction():
        session = transitions.lock(session_id)
        attempts = Attempt.objects.filter(session=session, number=number)
        news = attempts.filter(exited_at=None).update(exited_at=database_now(), **dataclasses.asdict(how))
        if news:
            payload = {"exit_status": how.exit_status, "exit_signal": how.exit_signal}
            unit_of_work.event(session.project_id, "process_exited", payload, session=session.pk, attempt=number)
            dispatch.free_place(session_id, number)
        if not attempts.filter(presence.is_live()).exists():
            end_exited(session_id, number)
        session.refresh_from_db()
        return session.status


def end_exited(session_id: UUID, number: int) -> bool:
    """End an attempt after its process exited without a terminal frame. Return False when it was over or still runs."""
    with unit_of_work.transaction():
        session = transitions.lock(session_id)
        attempt = Attempt.objects.filter(session=session, number=number).exclude(exited_at=None).first()
        if attempt is None:
            return False
        how = Exit(exit_status=attempt.exit_status, exit_signal=attempt.exit_signal, stderr_tail=attempt.stderr_tail)
        return lifecycle.give_up(session_id, number, "\n".join(filter(None, [str(how), how.stderr_tail])))


def _recognise(token: str, session_id: UUID, number: int) -> None:
    """Accept only the token of this attempt, live or ended together with the attempt. Raises 401.

    On 401 the supervisor kills its process and exits. A token that ended before its attempt was replaced by a fresh
    one, so its holder must not end the attempt.
    """
    found = credentials.recognise(token)
    credential = found.credential
    if credential is None or credential.kind != CredentialKind.CHILD:
        raise problems.unauthenticated()
    if (credential.subject, credential.attempt) != (str(session_id), number):
        raise problems.unauthenticated()
    if found.state != "live" and Attempt.objects.filter(session=session_id, number=number, ended_at=None).exists():
        raise problems.unauthenticated()
