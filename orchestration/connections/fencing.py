"""Fence the connections of a child, so that only the newest one of a session can act.

A session has one live connection, with a number that grows. A newer connection takes the next number. The older one can
then do nothing more, not even its own clean-up. Each operation of a connection is one transaction that begins with
`fenced_transaction`.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple
from uuid import UUID

from accounts import credentials
from accounts.actors import Actor
from accounts.models import Credential, CredentialKind
from core.db import clock, sql
from core.db.clock import database_now
from core.db.named_sql import NamedSQL
from ledger import unit_of_work
from orchestration import presence
from orchestration.models import Attempt, Session
from orchestration.sessions import lifecycle, supervisor_reports, transitions
from wardroom.protocol import Close

STATEMENTS = NamedSQL(Path(__file__).parent)


class ConnectionRejected(Exception):
    """This connection may not act, or no longer. Close its socket with `code` and `reason`."""

    def __init__(self, code: Close, reason: str) -> None:
        super().__init__(f"{int(code)} {reason}")
        self.code = code
        self.reason = reason


@dataclass(frozen=True, slots=True)
class Principal:
    """The attempt that a token proves, before it has a connection."""

    project_id: UUID
    session_id: UUID
    attempt: int
    token: str

    def __repr__(self) -> str:
        return f"Principal({self.session_id}/{self.attempt})"


@dataclass(frozen=True, slots=True)
class Claim:
    """One connection of an attempt. Its `number` is the fence."""

    principal: Principal
    number: int
    plain: bool = False

    @property
    def project_id(self) -> UUID:
        return self.principal.project_id

    @property
    def session_id(self) -> UUID:
        return self.principal.session_id

    @property
    def attempt(self) -> int:
        return self.principal.attempt

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


def authenticate(token: str, session: str, found: credentials.Recognised | None = None) -> Principal:
    """Authenticate a token for the connection of `session`. Raises ConnectionRejected with the code of the handshake.

    `found` is the result of the token's check, if it was checked before. It comes first: without a valid token, a
    caller does not learn which sessions exist.
    """
    found = found or credentials.recognise(token)
    credential = found.credential
    if credential is None or credential.kind != CredentialKind.CHILD:
        raise ConnectionRejected(Close.UNAUTHENTICATED, "unknown token")
    attempt = Attempt.objects.filter(session_id=credential.subject, number=credential.attempt or 0)
    over = attempt.filter(ended_at__isnull=False).exists()
    if found.state != "live" and not over:
        raise ConnectionRejected(Close.UNAUTHENTICATED, f"{found.state} token")
    _refuse_other_session(credential, session)
    if over:
        raise ConnectionRejected(Close.ATTEMPT_OVER, f"attempt {credential.attempt} is over")
    return Principal(credential.project_id, UUID(credential.subject), credential.attempt or 0, token)


def claim(principal: Principal, *, plain: bool = False) -> Claim:
    """Make this the session's one live connection. The number grows, and the former connection is fenced off.

    Two connections may claim at once. The session's lock puts them in order, and the later one wins.
    """
    web_process = presence.current()
    with unit_of_work.transaction():
        transitions.lock(principal.session_id)
        attempt = Attempt.objects.filter(session_id=principal.session_id, number=principal.attempt, ended_at=None)
        former = attempt.values("connection", "connection_lost_at").first()
        if former is None:
            raise rejection(Claim(principal, 0))
        connection = Claim(principal, former["connection"] + 1, plain)
        attempt.update(
            connection=connection.number,
            web_process_id=web_process,
            connection_since=database_now(),
            connection_lost_at=None,
        )
        refuse_ended_token(connection)
        lifecycle.started(principal.session_id, principal.attempt)
        _record_event(connection, "connection_opened")
        if former["connection"] and former["connection_lost_at"] is None:
            unit_of_work.wake(replaced(principal.session_id, former["connection"]))
    return connection


@contextmanager
def fenced_transaction(connection: Claim, *, also: UUID | None = None) -> Iterator[Session]:
    """Open a transaction in which only this connection acts for its session.

    It takes two steps. 1. Lock the session, first in the order of locks, and the session `also`. Every claim and every
    end of an attempt takes this lock, so what step 2 finds stays true until COMMIT. 2. Check the fence. It is a
    statement of its own, because PostgreSQL would show the attempt as it was before the wait for the lock. Raises
    ConnectionRejected if the check fails; then nothing is written.
    """
    with unit_of_work.transaction():
        own = connection.session_id
        session = transitions.lock_in_order({own, also or own})[own]
        check(connection)
        yield session


def disconnect(connection: Claim) -> bool:
    """Record that the socket is closed; the grace period begins.

    Return False when a newer connection is live or the attempt is over.
    """
    with unit_of_work.transaction():
        transitions.lock(connection.session_id)
        lost = Attempt.objects.filter(
            **connection.row(), ended_at=None, connection=connection.number, connection_lost_at=None
        ).update(connection_lost_at=database_now())
        if lost:
            _record_event(connection, "connection_lost")
            # A process that has ended cannot reconnect, and all its frames are handled by now.
            supervisor_reports.end_exited(connection.session_id, connection.attempt)
        return bool(lost)


class Standing(NamedTuple):
    """The facts about the attempt of a connection that may act."""

    run_acked: bool
    cancel_requested: bool
    cancel_reason: str
    #: The version of the project's rules. None: it has none.
    policy_version: int | None


def check(connection: Claim) -> Standing:
    """Check the fence: the attempt has not ended, this is its newest connection, and the token is live. Take no lock.

    Raises ConnectionRejected. One statement reads all of it: an attempt and its token end in one commit, so a token
    that has ended is never reported before the end of its attempt.
    """
    token = connection.principal.token
    params = {
        "now": clock.parameter(),
        "token": credentials.parts(token)[1],
        "session": sql.uid(connection.session_id),
        "attempt": connection.attempt,
    }
    for number, is_open, run_acked, cancelled, reason, policy, *columns in sql.run_prepared(
        STATEMENTS["standing"], params
    ):
        if is_open and number == connection.number:
            _refuse_ended(credentials.child_state(token, columns))
            return Standing(bool(run_acked), bool(cancelled), reason, policy)
    raise rejection(connection)


def refuse_ended_token(connection: Claim) -> None:
    """Raise ConnectionRejected 4401 when the token of this connection was ended, was replaced or has expired."""
    _refuse_ended(credentials.recognise(connection.principal.token).state)


def _refuse_ended(state: credentials.State) -> None:
    if state != "live":
        raise ConnectionRejected(Close.UNAUTHENTICATED, f"{state} token")


def rejection(connection: Claim) -> ConnectionRejected:
    """Return the reason why the fence refused a connection."""
    attempt = Attempt.objects.select_related("session").filter(**connection.row()).first()
    if attempt is None:
        return ConnectionRejected(Close.NO_SESSION, "no such session")
    if attempt.session.attempt != attempt.number:
        return ConnectionRejected(Close.REPLACED, f"replaced by attempt {attempt.session.attempt}")
    if attempt.ended_at is not None:
        return ConnectionRejected(Close.ATTEMPT_OVER, f"attempt {attempt.number} is over: {attempt.status}")
    return ConnectionRejected(Close.REPLACED, "replaced by a newer connection")


def _refuse_other_session(credential: Credential, session: str) -> None:
    try:
        named = UUID(session)
    except ValueError:
        named = None
    if named is not None and str(named) == credential.subject:
        return
    if named is not None and Session.objects.filter(pk=named, project_id=credential.project_id).exists():
        raise ConnectionRejected(Close.FORBIDDEN, "a token of another session")
    raise ConnectionRejected(Close.NO_SESSION, "no such session")


def _record_event(connection: Claim, event: str) -> None:
    payload = {"connection": connection.number}
    unit_of_work.event(connection.project_id, event, payload, session=connection.session_id, attempt=connection.attempt)


def replaced(session_id: UUID, number: int) -> str:
    """Return the wake-up topic that tells one connection that a newer one has taken its place."""
    return f"replaced:{session_id}:{number}"
