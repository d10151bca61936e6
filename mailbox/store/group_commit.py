"""Concurrent deliveries share one commit: a caller that comes during a commit goes with the next one.

There is no timer and no extra thread. The first caller leads: it commits all waiting messages at once, at least its
own. Callers that come during this commit wait. The first of them leads next, and takes all the others along. So a
single caller never waits, and many callers pay for one commit instead of one each.

A batch that the database refuses is retried one by one, so that one bad row does not affect the others. Deliveries
inside a transaction never come here: they belong to it.
"""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from threading import Lock
from uuid import UUID

from django.db import DEFAULT_DB_ALIAS, InterfaceError, OperationalError, connection, connections
from django.db.backends.base.base import BaseDatabaseWrapper

from core.db import sql
from core.db.write_lock import turn_to_write
from core.web.problems import Problem
from ledger import unit_of_work
from mailbox.envelope import ValidatedMessage
from mailbox.store import insert
from mailbox.store.insert import Outcome

#: The most messages of one commit, and the most characters of their bodies. One caller may bring more.
MOST = 500
MOST_CHARACTERS = 8 * 1024 * 1024
TRIES = 3
_DEADLOCKS = ("40P01", "40001")


def _held() -> Lock:
    lock = Lock()
    lock.acquire()
    return lock


@dataclass(slots=True, eq=False)
class Pending:
    """One caller's messages on their way to a commit. `whole`: accept all of them, or none."""

    project_id: UUID
    messages: Sequence[tuple[str, ValidatedMessage]]
    whole: bool
    outcomes: list[Outcome] | None = None
    error: Exception | None = None
    #: Its caller has left. A leader that has already taken the entry still commits it.
    withdrawn: bool = False
    #: Locked until this caller should lead, or return. A bare lock: an Event costs four times as much.
    turn: Lock = field(default_factory=_held)

    @property
    def characters(self) -> int:
        return sum(len(each.body_text) for _, each in self.messages)

    @property
    def settled(self) -> bool:
        return self.outcomes is not None or self.error is not None


class Undone(Exception):
    """One entry of a batch wants all or nothing and cannot have all. The whole batch was rolled back."""


class _Queue:
    """The waiting entries of this process, and its leader."""

    def __init__(self) -> None:
        self.lock = Lock()
        self.waiting: deque[Pending] = deque()
        self.has_leader = False
        #: The entry that was chosen to lead, also before its thread has woken up.
        self.leader: Pending | None = None
        #: On SQLite, the one connection that every leader uses.
        self.writer: BaseDatabaseWrapper | None = None

    def join(self, entries: Sequence[Pending]) -> bool:
        """Add the entries. Return True if the caller leads now."""
        with self.lock:
            self.waiting.extend(entries)
            leads, self.has_leader = not self.has_leader, True
            return leads

    def take(self) -> list[Pending]:
        """Return the next batch: the first waiting entry, and as many after it as fit."""
        with self.lock:
            batch = [self.waiting.popleft()]
            room, characters = MOST - len(batch[0].messages), MOST_CHARACTERS - batch[0].characters
            while self.waiting:
                following = self.waiting[0]
                room, characters = room - len(following.messages), characters - following.characters
                if room < 0 or characters < 0:
                    break
                batch.append(self.waiting.popleft())
            return batch

    def hand_over(self, batch: list[Pending]) -> None:
        """Release finished callers and promote the next leader. Entries that a failed leader left unfinished wait
        again.
        """
        with self.lock:
            self.waiting.extendleft(
                reversed([entry for entry in batch[1:] if not entry.settled and not entry.withdrawn])
            )
            following = self._choose()
        for entry in batch[1:]:
            if entry.settled:
                entry.turn.release()
        if following:
            following.turn.release()

    def withdraw(self, entries: Sequence[Pending]) -> None:
        """Remove callers that left while they waited. If one of them was to lead, promote the next."""
        with self.lock:
            for entry in entries:
                entry.withdrawn = True
            self.waiting = deque(entry for entry in self.waiting if not entry.withdrawn)
            following = self._choose() if self.leader is not None and self.leader.withdrawn else None
        if following:
            following.turn.release()

    def _choose(self) -> Pending | None:
        self.leader = self.waiting[0] if self.waiting else None
        self.has_leader = self.leader is not None
        return self.leader


_queue = _Queue()
_inherited: list[_Queue] = []


def _reset_after_fork() -> None:
    # A fork has none of the waiting threads, and perhaps a lock that no thread will ever release.
    global _queue
    _inherited.append(_queue)  # Kept alive: a fork must not even close a SQLite connection of its parent.
    _queue = _Queue()


os.register_at_fork(after_in_child=_reset_after_fork)


def post(entry: Pending) -> list[Outcome]:
    """Commit these messages, together with other waiting callers. Return the outcomes once they are durable."""
    settle([entry])
    if entry.error:
        raise entry.error
    return entry.outcomes or []


def settle(entries: Sequence[Pending]) -> None:
    """Commit the entries of many callers that share a thread. Each entry then has its outcomes or its error."""
    if not entries:
        return
    queue = _queue
    leads = queue.join(entries)
    broken: BaseException | None = None
    for entry in entries:
        if not leads:
            try:
                entry.turn.acquire()
            except BaseException:
                # A signal handler raised. No other thread could lead in place of this one.
                queue.withdraw(entries)
                raise
        leads = False
        if not entry.settled:
            try:
                batch = queue.take()
                try:
                    with _writing(queue) if connection.vendor == "sqlite" else _borrowed_connection():
                        commit(batch)
                finally:
                    queue.hand_over(batch)
            except BaseException as error:
                # The other entries still get their turns, and only this thread can take them.
                broken = error
    if broken:
        raise broken


@contextmanager
def _writing(queue: _Queue) -> Iterator[None]:
    """Use one connection for all leaders. A SQLite connection drops its page cache as soon as another one writes."""
    if queue.writer is None:
        queue.writer = connections.create_connection(DEFAULT_DB_ALIAS)
        queue.writer.inc_thread_sharing()
    writer, own, sound = queue.writer, connections[DEFAULT_DB_ALIAS], False
    connections[DEFAULT_DB_ALIAS] = writer
    try:
        yield
        sound = not writer.errors_occurred
    finally:
        connections[DEFAULT_DB_ALIAS] = own
        if not sound:
            queue.writer = None
            writer.close()


@contextmanager
def _borrowed_connection() -> Iterator[None]:
    """Return the connection to the pool if this thread had none before. Callers may be many more than connections."""
    borrowed = connection.connection is None and connection.settings_dict["OPTIONS"].get("pool")
    try:
        yield
    finally:
        if borrowed:
            connection.close()


def commit(batch: Sequence[Pending]) -> None:
    """Settle every entry: together, or one by one if the whole batch is refused."""
    try:
        for attempt in range(1, TRIES + 1):
            try:
                found = _transaction(batch)
                break
            except OperationalError as error:
                if attempt == TRIES or getattr(error.__cause__, "sqlstate", None) not in _DEADLOCKS:
                    raise
        for entry, outcomes in zip(batch, found, strict=True):
            entry.outcomes = outcomes
    except Exception as error:
        # The database is away or too busy: each entry alone would fail in the same way.
        is_away = isinstance(error, OperationalError | InterfaceError) and not sql.blames_rows(error)
        if is_away or len(batch) == 1:
            for entry in batch:
                entry.error = error
            return
        for entry in batch:
            commit([entry])


def _transaction(batch: Sequence[Pending]) -> list[list[Outcome]]:
    by_project: dict[UUID, list[tuple[str, ValidatedMessage]]] = {}
    for entry in batch:
        by_project.setdefault(entry.project_id, []).extend(entry.messages)
    all_or_none = any(entry.whole and len(entry.messages) > 1 for entry in batch)
    if len(by_project) == 1 and not all_or_none and insert.can_at_once(next(iter(by_project.values()))):
        [(project_id, messages)] = by_project.items()
        with turn_to_write():
            accepted = {project_id: iter(insert.accept_alone(project_id, messages))}
        return [[next(accepted[entry.project_id]) for _ in entry.messages] for entry in batch]
    with unit_of_work.transaction():
        accepted = {
            project_id: iter(insert.accept(project_id, found)) for project_id, found in sorted(by_project.items())
        }
        outcomes = [[next(accepted[entry.project_id]) for _ in entry.messages] for entry in batch]
        for entry, found in zip(batch, outcomes, strict=True):
            refusal = next((outcome for outcome in found if isinstance(outcome, Problem)), None)
            if not entry.whole or refusal is None:
                continue
            # All or none: an entry that is alone gets the refusal itself. Others are tried again one by one.
            if len(batch) == 1:
                raise refusal
            if len(found) > 1:
                raise Undone
    return outcomes
