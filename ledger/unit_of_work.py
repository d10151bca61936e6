"""The transaction that every verb opens: events, audit rows, outbox rows and nudges leave with its COMMIT.

    with journal.transaction():
        ...guarded updates...
        journal.event(project_id, "session_started", {...}, session=..., attempt=...)
        journal.audit(project_id, actor, "approval.decide", subject, {...})
        journal.nudge(f"session:{session_id}")

Entries are kept back until the outermost block ends and are written there in one go, under the ledger head:
*last before COMMIT*, so that the one lock that everybody needs is held for the shortest time, and commit order is
cursor order. An inner block that raises takes its own entries with it.
"""

from __future__ import annotations

import functools
import logging
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

from django.db import transaction as database

from core.db import locks
from core.db.write_lock import hand_on, turn_to_write
from ledger import entries, wakeups

log = logging.getLogger(__name__)


@dataclass(slots=True)
class _Book:
    """What the open transaction of this thread has noted so far."""

    notes: list[entries.Note] = field(default_factory=list)
    topics: dict[str, None] = field(default_factory=dict)
    after: list[Callable[[], object]] = field(default_factory=list)


class _Desk(threading.local):
    book: _Book | None = None


_desk = _Desk()


@contextmanager
def transaction() -> Iterator[None]:
    """One transaction with its journal. Nested ones join the outer as a savepoint."""
    if _desk.book is None:
        with _outermost():
            yield
    else:
        with _nested(_desk.book):
            yield


@contextmanager
def _outermost() -> Iterator[None]:
    book = _desk.book = _Book()
    try:
        with turn_to_write(), database.atomic():
            # Before every other hook: those may be slow, and other threads wait to write.
            database.on_commit(hand_on)
            locks.bound_transaction()
            yield
            written = entries.write(book.notes)
            topics = [*book.topics, *(f"feed:{project}" for project in written)]
            for call in book.after:
                database.on_commit(functools.partial(_attempt, call))
            if topics:
                database.on_commit(lambda: wakeups.publish(topics), robust=True)
            # What runs after COMMIT may open a transaction of its own, which must not join this one's book.
            _desk.book = None
    finally:
        _desk.book = None


@contextmanager
def _nested(book: _Book) -> Iterator[None]:
    notes, after, topics = len(book.notes), len(book.after), dict(book.topics)
    try:
        with database.atomic():
            yield
    except BaseException:
        del book.notes[notes:], book.after[after:]
        book.topics = topics
        raise


def _attempt(call: Callable[[], object]) -> None:
    """Run what follows a COMMIT. Its failure is logged: what was committed stands, and a sweeper does the rest.

    Django's own `robust` hooks cannot name a `functools.partial`, and then fail the caller.
    """
    try:
        call()
    except Exception:
        log.exception("%s failed after COMMIT; a sweeper will find the same work", call)


def _open() -> _Book:
    if _desk.book is None:
        raise RuntimeError("This needs an open journal.transaction(): it must commit with what it tells of.")
    return _desk.book


def event(
    project_id: UUID,
    type: str,
    payload: dict[str, Any] | None = None,
    *,
    session: UUID | None = None,
    attempt: int | None = None,
) -> None:
    """Append one of Wardroom's own events to the project's feed."""
    _open().notes.append(entries.NewEvent(project_id, type, payload or {}, session, attempt, None))


def child_event(project_id: UUID, type: str, payload: dict[str, Any], *, session: UUID, attempt: int, seq: int) -> None:
    """Append a child's own durable event. The caller has made sure that this seq is new."""
    _open().notes.append(entries.NewEvent(project_id, type, payload, session, attempt, seq))


def audit(project_id: UUID, actor: object, action: str, subject: str, detail: dict[str, Any] | None = None) -> None:
    """Append an audit row to the project's chain. `detail` holds JSON values and no secret."""
    _open().notes.append(entries.NewAudit(project_id, str(actor), action, subject, detail or {}))


def outbox(project_id: UUID, kind: str, key: str, payload: dict[str, Any]) -> None:
    """Owe the outside a message. The same key is owed once."""
    _open().notes.append(entries.NewOutbox(project_id, kind, key, payload))


def nudge(topic: str) -> None:
    """Wake whoever listens to `topic`, after COMMIT. Carries no data; losing it costs latency only."""
    _open().topics[topic] = None


def after_commit(call: Callable[[], object]) -> None:
    """Run `call` after COMMIT. It may be lost, so a sweeper must find the same work by query."""
    _open().after.append(call)
