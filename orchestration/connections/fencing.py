"""Fence the connections of a child, so that only the newest one of a session can act.

A session has one live connection, with a number that grows. A newer connection takes the next number. The older one can
then do nothing more, not even its own clean-up. Each operation of a connection is one transaction that begins with
`held`.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from django.db.models import F

from accounts import credentials
from accounts.actors import Actor
from accounts.models import Credential, CredentialKind
from core.db.clock import database_now
from ledger import unit_of_work
from orchestration import presence
from orchestration.models import Attempt, Session
from orchestration.sessions import lifecycle, supervisor_reports, transitions
from wardroom.protocol import Close


class LineClosed(Exception):
    """This connection may not act, or no longer. Close its socket with `code` and `reason`."""

    def __init__(self, code: Close, reason: str) -> None:
        super().__init__(f"{int(code)} {reason}")
        self.code = code
        self.reason = reason


@dataclass(frozen=True, slots=True)
class Caller:
    """The attempt that a token proves, before it has a connection."""

    project_id: UUID
    session_id: UUID
    attempt: int
    token: str

    def __repr__(self) -> str:
        return f"Caller({self.session_id}/{self.attempt})"


@dataclass(frozen=True, slots=True)
class Line:
    """One connection of an attempt. Its number `connection` is the fence."""

    caller: Caller
    connection: int
    plain: bool = False

    @property
    def project_id(self) -> UUID:
        return self.caller.project_id

    @property
    def session_id(self) -> UUID:
        return self.caller.session_id

    @property
    def attempt(self) -> int:
        return self.caller.attempt

    @property
    def actor(self) -> Actor:
        """The child as the actor of its requests and messages."""
        return Actor(
            kind="child",
            id=f"{self.session_id}/{self.attempt}",
            name=f"child {self.session_id}",
            session=self.session_id,
            attempt=self.attempt,
        )

    def row(self) -> dict[str, object]:
        """Return the filter for this attempt's row, without the fence."""
        return {"session_id": self.session_id, "number": self.attempt}


def judge(token: str, session: str, *, now: datetime | None = None) -> Caller:
    """Authenticate a token for the connection of `session`. Raises LineClosed with the code of the handshake.

    The token is checked first: without a valid one, a caller does not learn which sessions exist.
    """
    found = credentials.recognise(token, now=now)
    credential = found.credential
    if credential is None or credential.kind != CredentialKind.CHILD:
        raise LineClosed(Close.UNAUTHENTICATED, "unknown token")
    over = _is_over(credential)
    if found.state != "live" and not over:
        raise LineClosed(Close.UNAUTHENTICATED, f"{found.state} token")
    _refuse_other_session(credential, session)
    if over:
        raise LineClosed(Close.ATTEMPT_OVER, f"attempt {credential.attempt} is over")
    return Caller(credential.project_id, UUID(credential.subject), credential.attempt or 0, token)


def claim(caller: Caller, *, plain: bool = False, now: datetime | None = None) -> Line:
    """Make this the session's one live connection. The number grows, and the former connection is fenced off.

    Two connections may claim at once. The session's lock puts them in order, and the later one wins.
    """
    web_process = presence.current()
    with unit_of_work.transaction():
        transitions.lock(caller.session_id)
        taken = Attempt.objects.filter(session_id=caller.session_id, number=caller.attempt, ended_at=None).update(
            connection=F("connection") + 1,
            web_process_id=web_process,
            line_since=database_now(now),
            line_lost_at=None,
        )
        if not taken:
            raise why_closed(Line(caller, 0))
        connection = Attempt.objects.values_list("connection", flat=True).get(
            session_id=caller.session_id, number=caller.attempt
        )
        line = Line(caller, connection, plain)
        refuse_dead_token(line)
        lifecycle.started(caller.session_id, caller.attempt)
        _tell(line, "line_opened")
    return line


@contextmanager
def held(line: Line, *, also: UUID | None = None) -> Iterator[Session]:
    """Open a transaction in which only this connection acts for its session.

    It takes three steps. 1. Lock the session, first in the order of locks, and the session `also`. 2. Check the fence:
    a guarded UPDATE finds the attempt running and the number ours, and keeps it so until commit. 3. Check the token,
    which may have been ended since. Raises LineClosed if a check fails; then nothing is written.
    """
    with unit_of_work.transaction():
        session = transitions.lock_in_order({line.session_id, also or line.session_id})[line.session_id]
        ours = Attempt.objects.filter(**line.row(), ended_at=None, connection=line.connection)
        if not ours.update(connection=line.connection):
            raise why_closed(line)
        refuse_dead_token(line)
        yield session


def disconnect(line: Line, *, now: datetime | None = None) -> bool:
    """Record that the socket is closed; the grace period begins.

    Return False when a newer connection is live or the attempt is over.
    """
    with unit_of_work.transaction():
        transitions.lock(line.session_id)
        lost = Attempt.objects.filter(
            **line.row(), ended_at=None, connection=line.connection, line_lost_at=None
        ).update(line_lost_at=database_now(now))
        if lost:
            _tell(line, "line_lost")
            # A process that has ended cannot reconnect, and all its frames are handled by now.
            supervisor_reports.judge_exit(line.session_id, line.attempt, now=now)
        return bool(lost)


def look(line: Line) -> Attempt:
    """Return this connection's attempt with its session. Takes no lock. Raises LineClosed when it may no longer act.

    The token is read before the attempt and checked after it. An attempt and its token end in one commit, so a reader
    that sees the token ended also sees the attempt ended, and reports that reason.
    """
    token = _token_state(line)
    ours = Attempt.objects.select_related("session").filter(**line.row(), ended_at=None, connection=line.connection)
    attempt = ours.first()
    if attempt is None:
        raise why_closed(line)
    _refuse_dead(token)
    return attempt


def refuse_dead_token(line: Line) -> None:
    """Raise LineClosed 4401 when the token of this connection was ended, was replaced or has expired."""
    _refuse_dead(_token_state(line))


def _token_state(line: Line) -> credentials.State:
    return credentials.recognise(line.caller.token).state


def _refuse_dead(state: credentials.State) -> None:
    if state != "live":
        raise LineClosed(Close.UNAUTHENTICATED, f"{state} token")


def why_closed(line: Line) -> LineClosed:
    """Return the reason why the fence refused a connection."""
    attempt = Attempt.objects.select_related("session").filter(**line.row()).first()
    if attempt is None:
        return LineClosed(Close.NO_SESSION, "no such session")
    if attempt.session.attempt != attempt.number:
        return LineClosed(Close.REPLACED, f"replaced by attempt {attempt.session.attempt}")
    if attempt.ended_at is not None:
        return LineClosed(Close.ATTEMPT_OVER, f"attempt {attempt.number} is over: {attempt.status}")
    return LineClosed(Close.REPLACED, "replaced by a newer connection")


def _is_over(credential: Credential) -> bool:
    return Attempt.objects.filter(
        session_id=credential.subject, number=credential.attempt or 0, ended_at__isnull=False
    ).exists()


def _refuse_other_session(credential: Credential, session: str) -> None:
    named = _uuid(session)
    if named is not None and str(named) == credential.subject:
        return
    if named is not None and Session.objects.filter(pk=named, project_id=credential.project_id).exists():
        raise LineClosed(Close.FORBIDDEN, "a token of another session")
    raise LineClosed(Close.NO_SESSION, "no such session")


def _uuid(text: str) -> UUID | None:
    try:
        return UUID(text)
    except ValueError:
        return None


def _tell(line: Line, event: str) -> None:
    payload = {"connection": line.connection}
    unit_of_work.event(line.project_id, event, payload, session=line.session_id, attempt=line.attempt)
    unit_of_work.nudge(f"session:{line.session_id}")
