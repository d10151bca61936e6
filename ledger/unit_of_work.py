"""The transaction that every operation opens. Its COMMIT writes events, audit and outbox rows, and sends wake-ups.

    with unit_of_work.transaction():
        ...guarded updates...
        unit_of_work.event(project_id, "session_started", {...}, session=..., attempt=...)
        unit_of_work.audit(project_id, actor, "approval.decide", subject, {...})
        unit_of_work.wake(f"session:{session_id}")

Entries are collected until the outermost block ends. Then they are written at once, under the ledger head, *last before
COMMIT*: the one lock that every transaction needs is held for the shortest time, and commit order is cursor order. An
operation that is called by another one joins its transaction. A part that may fail alone is a `savepoint`.
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

from core.db import locks, sql
from core.db.write_lock import hand_on, turn_to_write
from core.display.redaction import event_copy
from ledger import wakeups
from ledger.store import entries

log = logging.getLogger(__name__)


@dataclass(slots=True)
class _UnitOfWork:
    """The entries of this thread's open transaction so far."""

    new_entries: list[entries.NewEntry] = field(default_factory=list)
    topics: dict[str, None] = field(default_factory=dict)
    hooks: list[Callable[[], object]] = field(default_factory=list)
    #: The error that left an inner operation. Its writes may be half done, so nothing may be committed.
    failed: BaseException | None = None


class _Thread(threading.local):
    unit: _UnitOfWork | None = None


_thread = _Thread()


@contextmanager
def transaction() -> Iterator[None]:
    """Open a transaction, or join the one that is open: an operation may call another one.

    There is no savepoint. So when an inner operation raises, the outer one must fail too: if it goes on, its end raises
    RuntimeError, and nothing is committed.
    """
    unit = _thread.unit
    if unit is None:
        with _outermost():
            yield
        return
    try:
        yield
    except BaseException as error:
        unit.failed = error
        raise


@contextmanager
def savepoint() -> Iterator[None]:
    """Undo only this part of the open transaction when it raises, so that the rest can go on. Without one, open one.

    It costs two statements, so it is only for a part that has to fail alone. These are all:

    - `orchestration.connections.approvals.settle_plain`: an execution that is taken already is no error there.
    - `mailbox.claims`: spent messages that cannot be quarantined must not stop a claim.
    """
    unit = _thread.unit
    if unit is None:
        with _outermost():
            yield
        return
    entry_count, hook_count, topics = len(unit.new_entries), len(unit.hooks), dict(unit.topics)
    failed = unit.failed
    try:
        with database.atomic():
            yield
    except BaseException:
        del unit.new_entries[entry_count:], unit.hooks[hook_count:]
        unit.topics, unit.failed = topics, failed
        raise


@contextmanager
def _outermost() -> Iterator[None]:
    unit = _thread.unit = _UnitOfWork()
    # Inside a transaction of somebody else's, COMMIT is theirs.
    commit = not database.get_connection().in_atomic_block and sql.commits_at_once()
    try:
        with turn_to_write(), database.atomic():
            # Before every other hook: hooks may be slow, and other threads wait to write.
            database.on_commit(hand_on)
            locks.bound_transaction()
            yield
            if unit.failed is not None:
                raise RuntimeError(
                    "An inner operation failed and the outer one went on. Open a unit_of_work.savepoint() around it."
                ) from unit.failed
            topics = [*unit.topics, *(f"feed:{project}" for project in entries.feeds(unit.new_entries))]
            if any(isinstance(entry, entries.NewEvent) and entry.seq is None for entry in unit.new_entries):
                topics.append(wakeups.DELIVERIES)
            for hook in unit.hooks:
                database.on_commit(functools.partial(_attempt, hook))
            if topics:
                database.on_commit(lambda: wakeups.publish(topics), robust=True)
            entries.write(unit.new_entries, commit=commit)
            # A hook after COMMIT may open a transaction of its own, which must not join this one.
            _thread.unit = None
    finally:
        _thread.unit = None


def _attempt(hook: Callable[[], object]) -> None:
    """Run a hook after COMMIT. A failure is only logged: the commit is valid, and a sweeper finds the same work.

    Django's own `robust` hooks cannot name a `functools.partial`, and then fail the caller.
    """
    try:
        hook()
    except Exception:
        log.exception("%s failed after COMMIT; a sweeper will find the same work", hook)


def _open() -> _UnitOfWork:
    if _thread.unit is None:
        raise RuntimeError("This needs an open unit_of_work.transaction(): it must commit with the change itself.")
    return _thread.unit


def event(
    project_id: UUID,
    type: str,
    payload: dict[str, Any] | None = None,
    *,
    session: UUID | None = None,
    attempt: int | None = None,
) -> None:
    """Append one of Wardroom's own events to the project's feed."""
    _open().new_entries.append(entries.NewEvent(project_id, type, payload or {}, session, attempt, None))


def child_event(project_id: UUID, type: str, payload: dict[str, Any], *, session: UUID, attempt: int, seq: int) -> None:
    """Append a child's own durable event. The caller must have checked that this seq is new."""
    _open().new_entries.append(entries.NewEvent(project_id, type, payload, session, attempt, seq))


def audit(project_id: UUID, actor: object, action: str, subject: str, detail: dict[str, Any] | None = None) -> None:
    """Append an audit row to the project's chain. `detail` holds JSON values.

    A secret in a text of it is not stored: the chain is shown and exported as it is, and nothing in it can be changed.
    """
    kept = event_copy(detail or {})
    _open().new_entries.append(entries.NewAudit(project_id, str(actor), action, subject, kept))


def outbox(project_id: UUID, kind: str, key: str, payload: dict[str, Any]) -> None:
    """Queue a message to another system. The same key is queued once."""
    _open().new_entries.append(entries.NewOutbox(project_id, kind, key, payload))


def wake(topic: str) -> None:
    """Wake the listeners of `topic` after COMMIT. It carries no data; a lost one only adds latency."""
    _open().topics[topic] = None


def after_commit(call: Callable[[], object]) -> None:
    """Run `call` after COMMIT. It may be lost, so a sweeper must find the same work by query."""
    _open().hooks.append(call)
