"""Concurrent deliveries share one commit: who comes while another commits goes with the next.

There is no timer and no thread of its own. The first caller leads: it commits what waits, which is at least its own
message, at once. Whoever comes meanwhile waits; the first of them leads next, and takes all the others along. So a
single caller waits for nobody, and many pay for one commit instead of one each.

A batch that the database refuses is tried again one by one, so that one bad row costs no neighbour. Deliveries inside
a transaction never come here: they belong to it.
"""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
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
from mailbox.envelope import Sealed
from mailbox.store import insert
from mailbox.store.insert import Outcome

#: Messages of one commit, and characters of their bodies, unless one caller brings more.
MOST = 500
MOST_CHARACTERS = 8 * 1024 * 1024
TRIES = 3
_DEADLOCKS = ("40P01", "40001")


def _held() -> Lock:
    lock = Lock()
    lock.acquire()
    return lock


@dataclass(slots=True, eq=False)
class Ticket:
    """One caller's messages. `whole`: all of them, or none."""

    project_id: UUID
    letters: Sequence[tuple[str, Sealed]]
    whole: bool
    outcomes: list[Outcome] | None = None
    error: Exception | None = None
    #: Its caller has left. What a leader has in hand of it is still committed.
    withdrawn: bool = False
    #: Held until it is this caller's turn to lead, or to go. A bare lock: an Event costs four times as much.
    turn: Lock = field(default_factory=_held)

    @property
    def characters(self) -> int:
        return sum(len(each.body_text) for _, each in self.letters)

    @property
    def settled(self) -> bool:
        return self.outcomes is not None or self.error is not None


class Undone(Exception):
    """One ticket of a batch wants all or nothing and cannot have all: nothing of the batch was kept."""


class _Queue:
    """Who waits in this process, and whether somebody leads."""

    def __init__(self) -> None:
        self.lock = Lock()
        self.waiting: deque[Ticket] = deque()
        self.led = False
        #: Whose turn it is to lead, from the moment that it is told so.
        self.leader: Ticket | None = None
        #: On SQLite, the connection of every leader.
        self.writer: BaseDatabaseWrapper | None = None

    def join(self, tickets: Sequence[Ticket]) -> bool:
        """Whether the caller leads now."""
        with self.lock:
            self.waiting.extend(tickets)
            leads, self.led = not self.led, True
            return leads

    def take(self) -> list[Ticket]:
        """The next batch: the first of those that wait, and as many after it as fit."""
        with self.lock:
            batch = [self.waiting.popleft()]
            room, characters = MOST - len(batch[0].letters), MOST_CHARACTERS - batch[0].characters
            while self.waiting:
                following = self.waiting[0]
                room, characters = room - len(following.letters), characters - following.characters
                if room < 0 or characters < 0:
                    break
                batch.append(self.waiting.popleft())
            return batch

    def hand_over(self, batch: list[Ticket]) -> None:
        """Tell those of the batch, and let the next in line lead. What a leader that broke off left undone waits on."""
        with self.lock:
            self.waiting.extendleft(
                reversed([ticket for ticket in batch[1:] if not ticket.settled and not ticket.withdrawn])
            )
            following = self._choose()
        for ticket in batch[1:]:
            if ticket.settled:
                ticket.turn.release()
        if following:
            following.turn.release()

    def withdraw(self, tickets: Sequence[Ticket]) -> None:
        """Forget callers that left while they waited. A turn to lead that one of them had goes to the next."""
        with self.lock:
            for ticket in tickets:
                ticket.withdrawn = True
            self.waiting = deque(ticket for ticket in self.waiting if not ticket.withdrawn)
            following = self._choose() if self.leader is not None and self.leader.withdrawn else None
        if following:
            following.turn.release()

    def _choose(self) -> Ticket | None:
        self.leader = self.waiting[0] if self.waiting else None
        self.led = self.leader is not None
        return self.leader


_queue = _Queue()
_inherited: list[_Queue] = []


def _forget() -> None:
    # A fork has none of the threads that wait, and perhaps a lock that nobody will ever open.
    global _queue
    _inherited.append(_queue)  # Not let go: a fork may not even close what its parent opened of SQLite.
    _queue = _Queue()


os.register_at_fork(after_in_child=_forget)


def post(ticket: Ticket) -> list[Outcome]:
    """Commit these, with whoever else is there. Returns their outcomes once they are durable, or raises."""
    settle([ticket])
    if ticket.error:
        raise ticket.error
    return ticket.outcomes or []


def settle(tickets: Sequence[Ticket]) -> None:
    """Commit the tickets of many callers that share a thread; each then has its outcomes or its error."""
    if not tickets:
        return
    queue = _queue
    leads = queue.join(tickets)
    broken: BaseException | None = None
    for ticket in tickets:
        if not leads:
            try:
                ticket.turn.acquire()
            except BaseException:
                # A signal's handler raised. Nobody else could lead in this thread's place.
                queue.withdraw(tickets)
                raise
        leads = False
        if not ticket.settled:
            try:
                _lead(queue)
            except BaseException as error:
                # The turns of the other tickets still come, and this thread is who takes them.
                broken = error
    if broken:
        raise broken


def _lead(queue: _Queue) -> None:
    batch = queue.take()
    try:
        with _writing(queue) if connection.vendor == "sqlite" else _borrowed_connection():
            commit(batch)
    finally:
        queue.hand_over(batch)


@contextmanager
def _writing(queue: _Queue) -> Iterator[None]:
    """All leaders use one connection: one to SQLite forgets every page that it read as soon as another one writes."""
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
    """A thread that had no connection of the pool keeps none: callers may be many more than connections."""
    borrowed = connection.connection is None and connection.settings_dict["OPTIONS"].get("pool")
    try:
        yield
    finally:
        if borrowed:
            connection.close()


def commit(batch: Sequence[Ticket]) -> None:
    """Settle every ticket: together, or one by one when together is refused."""
    try:
        _together(batch)
    except Exception as error:
        # The database is away, or too busy: it would be for each of them.
        is_away = isinstance(error, OperationalError | InterfaceError) and not sql.blames_rows(error)
        if is_away or len(batch) == 1:
            for ticket in batch:
                ticket.error = error
            return
        for ticket in batch:
            commit([ticket])


def _together(batch: Sequence[Ticket]) -> None:
    for attempt in range(1, TRIES + 1):
        try:
            found = _transaction(batch)
            break
        except OperationalError as error:
            if attempt == TRIES or getattr(error.__cause__, "sqlstate", None) not in _DEADLOCKS:
                raise
    for ticket, outcomes in zip(batch, found, strict=True):
        ticket.outcomes = outcomes


def _transaction(batch: Sequence[Ticket]) -> list[list[Outcome]]:
    by_project: dict[UUID, list[tuple[str, Sealed]]] = {}
    for ticket in batch:
        by_project.setdefault(ticket.project_id, []).extend(ticket.letters)
    if _goes_at_once(batch, by_project):
        [(project_id, letters)] = by_project.items()
        with turn_to_write():
            accepted = {project_id: iter(insert.accept_alone(project_id, letters))}
        return [[next(accepted[ticket.project_id]) for _ in ticket.letters] for ticket in batch]
    with unit_of_work.transaction():
        accepted = {
            project_id: iter(insert.accept(project_id, found)) for project_id, found in sorted(by_project.items())
        }
        outcomes = [[next(accepted[ticket.project_id]) for _ in ticket.letters] for ticket in batch]
        for ticket, found in zip(batch, outcomes, strict=True):
            if ticket.whole:
                _insist(found, alone=len(batch) == 1)
    return outcomes


def _goes_at_once(batch: Sequence[Ticket], by_project: Mapping[UUID, Sequence[tuple[str, Sealed]]]) -> bool:
    """Whether one statement can do it: see `accept_alone`."""
    if len(by_project) > 1 or any(ticket.whole and len(ticket.letters) > 1 for ticket in batch):
        return False
    return all(insert.can_at_once(letters) for letters in by_project.values())


def _insist(outcomes: list[Outcome], *, alone: bool) -> None:
    """All or none: the refusal itself when nobody else is in the transaction, else the word to go one by one."""
    refusal = next((outcome for outcome in outcomes if isinstance(outcome, Problem)), None)
    if refusal is None or (not alone and len(outcomes) == 1):
        return
    raise refusal if alone else Undone
