"""What a keeper says, and what it is told: that its process lives, how it ended, and when to kill it.

A keeper speaks with its attempt's token, and goes on to be heard when the attempt is over: then it still has a
process to report, or to kill.
"""

import dataclasses
import signal
from datetime import datetime
from uuid import UUID

from django.conf import settings
from django.db.models import Q

from accounts import credentials
from accounts.models import CredentialKind
from core.db.clock import database_now, later
from core.web import problems
from ledger import unit_of_work
from ledger.outages import STEP_SECS
from orchestration import presence
from orchestration.models import Attempt
from orchestration.sessions import lifecycle, transitions

#: A process that has ended while its line is still up may have sent its last words, which are on their way.
LAST_WORDS_SECS = 2


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Life:
    """keeper -> Wardroom: who keeps, and which process group."""

    pid: int
    pgid: int
    host: str


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Exit:
    """keeper -> Wardroom: how it ended. One of the two numbers is None."""

    exit_status: int | None
    exit_signal: int | None
    stderr_tail: str

    def __str__(self) -> str:
        if self.exit_signal is not None:
            return f"killed by signal {self.exit_signal}{_name(self.exit_signal)}"
        return f"exited with status {self.exit_status}"


def _name(number: int) -> str:
    try:
        return f" ({signal.Signals(number).name})"
    except ValueError:
        return ""


def alive(token: str, session_id: UUID, number: int, life: Life, *, now: datetime | None = None) -> str | None:
    """Note that the process lives; the reason to kill it, or None while it may go on. Raises 401."""
    _recognise(token, session_id, number)
    mine = Attempt.objects.filter(session=session_id, number=number)
    mine.update(keeper_seen_at=database_now(now), keeper_pid=life.pid, pid=life.pgid, host=life.host)
    # No kill is ever due later than the grace of a cancel: one that seems to be was asked for before the clock was set
    # back, and is due now.
    odd = Q(kill_requested_at__gt=later(settings.WARDROOM["cancel_grace_secs"] + STEP_SECS, now))
    over = mine.filter(Q(kill_requested_at__lte=database_now(now)) | odd).values_list("status", "reason").first()
    return f"{over[0]}: {over[1]}" if over else None


def exited(token: str, session_id: UUID, number: int, how: Exit, *, now: datetime | None = None) -> str:
    """Keep how the process ended, once; the session's status after it. Raises 401.

    An attempt that is not over ends with it: at once, or, while its line is still up, when the sweeper has given
    the last words two seconds to arrive.
    """
    _recognise(token, session_id, number)
    with unit_of_work.transaction():
        session = transitions.lock(session_id)
        mine = Attempt.objects.filter(session=session, number=number)
        news = mine.filter(exited_at=None).update(exited_at=database_now(now), **dataclasses.asdict(how))
        if news:
            told = {"exit_status": how.exit_status, "exit_signal": how.exit_signal}
            unit_of_work.event(session.project_id, "process_exited", told, session=session.pk, attempt=number)
        if not mine.filter(presence.is_live(now=now)).exists():
            judge_exit(session_id, number, now=now)
        session.refresh_from_db()
        return session.status


def judge_exit(session_id: UUID, number: int, *, now: datetime | None = None) -> bool:
    """End an attempt whose process has ended without a terminal frame. False when it was over, or has not ended."""
    with unit_of_work.transaction():
        session = transitions.lock(session_id)
        attempt = Attempt.objects.filter(session=session, number=number).exclude(exited_at=None).first()
        if attempt is None:
            return False
        how = Exit(exit_status=attempt.exit_status, exit_signal=attempt.exit_signal, stderr_tail=attempt.stderr_tail)
        return lifecycle.give_up(session_id, number, "\n".join(filter(None, [str(how), how.stderr_tail])), now=now)


def _recognise(token: str, session_id: UUID, number: int) -> None:
    """The token of this very attempt, live or ended with it; anything else is nobody, and its keeper kills and leaves.

    A token that ended before its attempt was replaced by a fresh one: whoever holds it may not end what goes on.
    """
    found = credentials.recognise(token)
    credential = found.credential
    if credential is None or credential.kind != CredentialKind.CHILD:
        raise problems.unauthenticated()
    if (credential.subject, credential.attempt) != (str(session_id), number):
        raise problems.unauthenticated()
    if found.state != "live" and Attempt.objects.filter(session=session_id, number=number, ended_at=None).exists():
        raise problems.unauthenticated()
