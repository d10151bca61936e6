"""Insert messages: numbered under their addresses' locks, one row per id. The transaction is the caller's."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from itertools import count
from typing import Any, cast
from uuid import UUID

from django.db import connection

from core.db import locks
from core.db.clock import overridden, read_database_clock
from core.web import problems
from core.web.problems import Problem
from ledger import unit_of_work, wakeups
from mailbox import addresses
from mailbox.envelope import ValidatedMessage
from mailbox.models import Message
from mailbox.store import sql

#: Messages of one INSERT.
CHUNK = 500

#: The place of a message: the key of its address, and its number there.
Place = tuple[int, int]


@dataclass(frozen=True, slots=True)
class Delivered:
    """An accepted message. `duplicate`: it was accepted earlier, and nothing was written now."""

    id: str
    seq: int
    duplicate: bool


Outcome = Delivered | Problem
#: The outcome of each message, and the addresses that got one. None: the conflicting row was deleted meanwhile.
_Accepted = tuple[list[Outcome | None], set[str]]


def accept(project_id: UUID, messages: Sequence[tuple[str, ValidatedMessage]]) -> list[Outcome]:
    """Number and insert the messages, in this order. Return their outcomes in the same order.

    1. Lock the address rows, sorted by name, and advance their counters. A second delivery waits here until the
       first has committed, so a message with a lower number is never visible later (I3).
    2. Insert the messages. An id that exists already is skipped. Its number stays unused: numbers have gaps, but
       their order has none.
    3. Compare each skipped message with the existing row.

    Needs an open `unit_of_work.transaction()`, in which it also records the wake-ups.
    """
    if not messages:
        return []
    if overridden() is None and can_at_once(messages):
        outcomes, named = _retry_conflicts(messages, lambda some: _accept_at_once(project_id, some))
    else:
        outcomes, named = _retry_conflicts(messages, lambda some: _accept_in_steps(project_id, some))
    wake(project_id, named)
    return outcomes


def accept_alone(project_id: UUID, messages: Sequence[tuple[str, ValidatedMessage]]) -> list[Outcome]:
    """`accept` as one statement that commits itself, for messages that `can_at_once`, if no caller wants all or none.

    The wake-ups are sent after it.
    """
    outcomes, named = _retry_conflicts(messages, lambda some: _accept_at_once(project_id, some))
    if named:
        wakeups.publish(_topics(project_id, named))
    return outcomes


def can_at_once(messages: Sequence[tuple[str, ValidatedMessage]]) -> bool:
    """True if one statement can number and insert them: on PostgreSQL, with each id once.

    Not behind a pooler: only a transaction can bound its lock waits there.
    """
    if connection.vendor != "postgresql" or locks.is_shared(connection):
        return False
    return len({each.id for _, each in messages}) == len(messages)


def _retry_conflicts(
    messages: Sequence[tuple[str, ValidatedMessage]],
    accept_once: Callable[[Sequence[tuple[str, ValidatedMessage]]], _Accepted],
) -> tuple[list[Outcome], set[str]]:
    """Retry the messages that met an older row, if that row was deleted before it could be compared."""
    outcomes, named = accept_once(messages)
    again = [number for number, outcome in enumerate(outcomes) if outcome is None]
    if again:
        late, more = _retry_conflicts([messages[number] for number in again], accept_once)
        outcomes, named = outcomes.copy(), named | more
        for number, outcome in zip(again, late, strict=True):
            outcomes[number] = outcome
    return cast("list[Outcome]", outcomes), named


def _accept_in_steps(project_id: UUID, messages: Sequence[tuple[str, ValidatedMessage]]) -> _Accepted:
    """Accept with one statement for each step. Lock the addresses in the order of their names."""
    wanted = Counter(address for address, _ in messages)
    taken = {name: (pk, count(last - wanted[name] + 1)) for name, pk, last in _advance(project_id, wanted)}
    rows: list[tuple[Place, ValidatedMessage]] = []
    for address, each in messages:
        key, numbers = taken[address]
        rows.append(((key, next(numbers)), each))
    insert = _insert_each if connection.vendor == "sqlite" else _insert
    fresh: dict[str, Place] = {}
    for start in range(0, len(rows), CHUNK):
        fresh |= insert(project_id, rows[start : start + CHUNK])
    existing = _existing(project_id, {each.id for place, each in rows if fresh.get(each.id) != place})
    named = {address for address, each in messages if each.id in fresh}
    return [_outcome(each, place, fresh, existing) for place, each in rows], named


def _accept_at_once(project_id: UUID, messages: Sequence[tuple[str, ValidatedMessage]]) -> _Accepted:
    """Accept with a single statement."""
    if len(messages) == 1:
        [(address, each)] = messages
        row = [project_id, address, project_id, *_stored(each), sql.moment(each.message.created_at)]
        found = sql.query("accept_one", row)
    else:
        # For each message its address, the number of later messages there, and its columns.
        behind: dict[str, int] = {}
        rows = []
        for address, each in reversed(messages):
            rows.append([address, behind.get(address, 0), *_stored(each), sql.moment(each.message.created_at)])
            behind[address] = behind.get(address, 0) + 1
        given = json.dumps(rows[::-1], ensure_ascii=False, default=str)
        found = sql.query("accept", [given, project_id, project_id])
    fresh = {name: (address, seq) for name, address, seq in found}
    existing = _existing(project_id, {each.id for _, each in messages if each.id not in fresh})
    outcomes = [_outcome(each, fresh.get(each.id, NOWHERE), fresh, existing) for _, each in messages]
    return outcomes, {address for address, each in messages if each.id in fresh}


NOWHERE: Place = (0, 0)


def lock_addresses(project_id: UUID, names: Collection[str]) -> None:
    """Lock these addresses now, in the order that every delivery uses. The open transaction delivers to them later."""
    if names:
        _advance(project_id, dict.fromkeys(names, 0))


def _advance(project_id: UUID, wanted: Mapping[str, int]) -> list[sql.Row]:
    """Lock the addresses, sorted by name, and advance their counters. Return their names, keys and counters."""
    ordered = json.dumps(sorted(wanted.items()), ensure_ascii=False)
    return sql.query("take_places", {"project": sql.uid(project_id), "wanted": ordered})


def _insert(project_id: UUID, rows: Sequence[tuple[Place, ValidatedMessage]]) -> dict[str, Place]:
    """Insert the messages. Return id -> place of the new ids."""
    messages = [[*place, *_stored(each), sql.moment(each.message.created_at)] for place, each in rows]
    given = json.dumps(messages, ensure_ascii=False, default=str)
    found = sql.query("insert_messages", {"now": sql.now(), "project": project_id, "messages": given})
    return {name: (address, seq) for name, address, seq in found}


def _insert_each(project_id: UUID, rows: Sequence[tuple[Place, ValidatedMessage]]) -> dict[str, Place]:
    """`_insert` for SQLite, which runs one short statement many times faster than one statement for many rows."""
    clock, project = sql.moment(read_database_clock()), sql.uid(project_id)
    values = []
    for place, each in rows:
        created = each.message.created_at
        values.append([project, *place, *_stored(each), sql.moment(created) if created else clock, clock])
    written = sql.run_each(sql.STATEMENTS["insert_message"], values)
    sql.run_each(sql.STATEMENTS["insert_waiting"], [place for place, _ in rows])
    if written == len(rows):
        return {each.id: place for place, each in rows}
    # Every message took a place: a row at another place is older.
    ids = {each.id for _, each in rows}
    found = Message.objects.filter(project_id=project_id, message_id__in=ids)
    places = {(address, seq): name for name, address, seq in found.values_list("message_id", "address_id", "seq")}
    return {each.id: place for place, each in rows if places.get(place) == each.id}


def _stored(each: ValidatedMessage) -> list[Any]:
    message = each.message
    return [
        each.id,
        message.message_kind,
        each.body_text,
        each.content_hash,
        message.correlation_id or "",
        str(message.sender_session or ""),
        message.sender_role or "",
        message.claimed_sender,
    ]


def _existing(project_id: UUID, ids: Collection[str]) -> dict[str, tuple[int, str]]:
    """Return the number and content hash of every id that existed before, or is named more than once."""
    if not ids:
        return {}
    found = Message.objects.filter(project_id=project_id, message_id__in=ids)
    return {name: (seq, content) for name, seq, content in found.values_list("message_id", "seq", "content_hash")}


def _outcome(
    each: ValidatedMessage, place: Place, fresh: Mapping[str, Place], existing: Mapping[str, tuple[int, str]]
) -> Outcome | None:
    if fresh.get(each.id) == place:
        return Delivered(each.id, place[1], duplicate=False)
    if each.id not in existing:
        return None
    seq, content = existing[each.id]
    if content == each.content_hash:
        return Delivered(each.id, seq, duplicate=True)
    return problems.conflict(f"There is another message with the id {each.id!r}.", id=each.id)


def wake(project_id: UUID, names: Collection[str]) -> None:
    """Wake the readers of these addresses when the open transaction commits."""
    for topic in _topics(project_id, names):
        unit_of_work.wake(topic)


def _topics(project_id: UUID, names: Collection[str]) -> list[str]:
    return [f"mailbox:{project_id}:{name}" for name in names] + [name for name in names if addresses.is_session(name)]
