"""The transaction that every operation opens. Its COMMIT writes events, audit and outbox rows, and sends wake-ups.

    with unit_of_work.transaction():
        ...guarded updates...
        unit_of_work.event(project_id, "session_started", {...}, session=..., attempt=...)
        unit_of_work.audit(project_id, actor, "approval.decide", subject, {...})
        unit_of_work.nudge(f"session:{session_id}")

Entries are collected until the outermost block ends. Then they are written at once, under the ledger head, *last before
COMMIT*: the one lock that every transaction needs is held for the shortest time, and commit order is cursor order. An
inner block that raises drops its own entries.
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
    """The entries of this thread's open transaction so far."""

    notes: list[entries.Note] = field(default_factory=list)
    topics: dict[str, None] = field(default_factory=dict)
    after: list[Callable[[], object]] = field(default_factory=list)


class _Desk(threading.local):
    book: _Book | None = None


_desk = _Desk()


@contextmanager
def transaction() -> Iterator[None]:
    """Open a transaction. A nested one is a savepoint of the outer one."""
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
            # Before every other hook: hooks may be slow, and other threads wait to write.
            database.on_commit(hand_on)
            locks.bound_transaction()
            yield
            written = entries.write(book.notes)
            topics = [*book.topics, *(f"feed:{project}" for project in written)]
            for call in book.after:
                database.on_commit(functools.partial(_attempt, call))
            if topics:
                database.on_commit(lambda: wakeups.publish(topics), robust=True)
            # A hook after COMMIT may open a transaction of its own, which must not join this one.
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
    """Run a hook after COMMIT. A failure is only logged: the commit is valid, and a sweeper finds the same work.

    Django's own `robust` hooks cannot name a `functools.partial`, and then fail the caller.
    """
    try:
        call()
    except Exception:
        log.exception("%s failed after COMMIT; a sweeper will find the same work", call)


def _open() -> _Book:
    if _desk.book is None:
        raise RuntimeError("This needs an open unit_of_work.transaction(): it must commit with the change itself.")
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
    """Append a child's own durable event. The caller must have checked that this seq is new."""
    _open().notes.append(entries.NewEvent(project_id, type, payload, session, attempt, seq))


def audit(project_id: UUID, actor: object, action: str, subject: str, detail: dict[str, Any] | None = None) -> None:
    """Append an audit row to the project's chain. `detail` holds JSON values and no secret."""
    _open().notes.append(entries.NewAudit(project_id, str(actor), action, subject, detail or {}))


def outbox(project_id: UUID, kind: str, key: str, payload: dict[str, Any]) -> None:
    """Queue a message to another system. The same key is queued once."""
    _open().notes.append(entries.NewOutbox(project_id, kind, key, payload))


def nudge(topic: str) -> None:
    """Wake the listeners of `topic` after COMMIT. It carries no data; a lost one only adds latency."""
    _open().topics[topic] = None


def after_commit(call: Callable[[], object]) -> None:
    """Run `call` after COMMIT. It may be lost, so a sweeper must find the same work by query."""
    _open().after.append(call)
