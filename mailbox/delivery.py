"""Accepting messages: one row for one id, numbered under its address's lock, durable before anybody is told."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from django.db.models import Count, Min, Q

from accounts import problems
from accounts.clock import database_now, read_database_clock
from accounts.problems import Problem
from ledger import journal
from mailbox import addresses, letters, sql
from mailbox.letters import NewMessage, Sealed
from mailbox.models import Message, Quarantined
from mailbox.states import MessageState, QuarantineState

#: Rows of one INSERT; SQLite takes at most 32,766 parameters in a statement.
CHUNK = 500


@dataclass(frozen=True, slots=True)
class Delivered:
    """An accepted message. `duplicate`: it had been accepted before, and nothing was written now."""

    id: str
    seq: int
    duplicate: bool


Outcome = Delivered | Problem


def deliver(
    project_id: UUID,
    address: str,
    messages: Sequence[NewMessage],
    *,
    internal: bool = False,
    now: datetime | None = None,
) -> list[Delivered]:
    """Accept all of them, in their order, or none and raise the first refusal.

    Joins an open `journal.transaction()`. The same id with the same content is the same message; with other
    content it is a 409 `conflict`. `internal` lets the kinds through that only verbs send.
    """
    with journal.transaction():
        outcomes = deliver_each(project_id, address, messages, internal=internal, now=now)
        for outcome in outcomes:
            if isinstance(outcome, Problem):
                raise outcome
    return [outcome for outcome in outcomes if isinstance(outcome, Delivered)]


def deliver_each(
    project_id: UUID,
    address: str,
    messages: Sequence[NewMessage | Problem],
    *,
    internal: bool = False,
    now: datetime | None = None,
) -> list[Outcome]:
    """Accept each on its own: one refusal does not touch its neighbours. The outcomes stand in the same order.

    What is wrong with the address itself is raised: 422, or 404 for that of a session that is not there.
    """
    _check(project_id, address, internal)
    return _deliver_each(project_id, [(address, each) for each in messages], internal, now)


def deliver_each_to(
    project_id: UUID,
    messages: Sequence[tuple[str, NewMessage | Problem]],
    *,
    internal: bool = False,
    now: datetime | None = None,
) -> list[Outcome]:
    """`deliver_each` for messages of many addresses, in one transaction, their locks taken in one order."""
    wrong = {address: _refusal(project_id, address, internal) for address in dict.fromkeys(to for to, _ in messages)}
    judged = [(address, wrong[address] or message) for address, message in messages]
    return _deliver_each(project_id, judged, internal, now)


def _deliver_each(
    project_id: UUID, messages: Sequence[tuple[str, NewMessage | Problem]], internal: bool, now: datetime | None
) -> list[Outcome]:
    sealed = [(address, _seal(address, message, internal)) for address, message in messages]
    parcels: dict[str, list[Sealed]] = {}
    for address, each in sealed:
        if isinstance(each, Sealed):
            parcels.setdefault(address, []).append(each)
    with journal.transaction():
        found = _accept(project_id, parcels, now)
    accepted = {address: iter(outcomes) for address, outcomes in found.items()}
    return [next(accepted[address]) if isinstance(each, Sealed) else each for address, each in sealed]


def deliver_to_many(
    project_id: UUID,
    parcels: Mapping[str, Sequence[NewMessage]],
    *,
    internal: bool = False,
    now: datetime | None = None,
) -> dict[str, list[Delivered]]:
    """`deliver` to several addresses at once, their locks taken in one order. All or none."""
    for address in parcels:
        _check(project_id, address, internal)
    sealed = {
        address: [letters.seal(address, message, internal=internal) for message in messages]
        for address, messages in parcels.items()
    }
    with journal.transaction():
        accepted = _accept(project_id, sealed, now)
        for outcome in (outcome for outcomes in accepted.values() for outcome in outcomes):
            if isinstance(outcome, Problem):
                raise outcome
    return {address: [each for each in found if isinstance(each, Delivered)] for address, found in accepted.items()}


def _seal(address: str, message: NewMessage | Problem, internal: bool) -> Sealed | Problem:
    if isinstance(message, Problem):
        return message
    try:
        return letters.seal(address, message, internal=internal)
    except Problem as refusal:
        return refusal


def _check(project_id: UUID, address: str, internal: bool) -> None:
    addresses.check(address)
    if not internal:
        addresses.must_exist(project_id, address)


def _refusal(project_id: UUID, address: str, internal: bool) -> Problem | None:
    try:
        _check(project_id, address, internal)
    except Problem as refusal:
        return refusal
    return None


def _accept(
    project_id: UUID, parcels: Mapping[str, Sequence[Sealed]], now: datetime | None
) -> dict[str, list[Outcome]]:
    """Number and insert, in this order:

    1. The address rows are locked, sorted by name, and their counters moved. Whoever comes second waits here
       until the first has committed, so a message with a lower number is never visible later (I3).
    2. The messages are inserted; an id that is there already is left alone. Its number stays unused: numbers
       have holes, the order has none.
    3. What was left alone is compared with what is there.
    """
    full = {address: sealed for address, sealed in sorted(parcels.items()) if sealed}
    ranges = _take_numbers(project_id, full) if full else {}
    rows = [
        (ranges[address][0], ranges[address][1] + place, each)
        for address, sealed in full.items()
        for place, each in enumerate(sealed)
    ]
    fresh: dict[str, int] = {}
    for start in range(0, len(rows), CHUNK):
        fresh |= _insert(project_id, rows[start : start + CHUNK], now)
    standing = _standing(project_id, [each.id for _, _, each in rows], fresh)
    nudge(project_id, [address for address, sealed in full.items() if any(each.id in fresh for each in sealed)])
    outcomes = {address: [_outcome(each, fresh, standing) for each in sealed] for address, sealed in full.items()}
    return {address: outcomes.get(address, []) for address in parcels}


def _take_numbers(project_id: UUID, parcels: Mapping[str, Sequence[Sealed]]) -> dict[str, tuple[int, int]]:
    """Address -> its row's id and the first of the numbers that are ours now."""
    project = sql.uid(project_id)
    values = ", ".join(["(%s, %s, %s)"] * len(parcels))
    params = [value for address, sealed in parcels.items() for value in (project, address, len(sealed))]
    taken = sql.run(
        f"INSERT INTO mailbox_address (project_id, name, last_seq) VALUES {values} "  # noqa: S608 - placeholders
        "ON CONFLICT (project_id, name) DO UPDATE SET last_seq = mailbox_address.last_seq + excluded.last_seq "
        "RETURNING name, id, last_seq",
        params,
    )
    return {name: (pk, last - len(parcels[name]) + 1) for name, pk, last in taken}


COLUMNS = (
    "project_id, address_id, seq, message_id, message_kind, body_text, content_hash, correlation_id, "
    "sender_session, sender_role, claimed_sender, state, tries, consumer, created_at, received_at"
)


def _insert(project_id: UUID, rows: Sequence[tuple[int, int, Sealed]], now: datetime | None) -> dict[str, int]:
    """Insert, and return id -> number of those that were not there yet."""
    clock = sql.at(now)
    values = f"({sql.marks([0] * 11)}, 'new', 0, '', COALESCE({sql.timestamp()}, {clock.text}), {clock.text})"
    params: list[Any] = []
    for address_pk, seq, each in rows:
        params += [sql.uid(project_id), address_pk, seq, *_stored(each)]
        params += [sql.moment(each.message.created_at), *clock.params, *clock.params]
    inserted = sql.run(
        f"INSERT INTO mailbox_message ({COLUMNS}) VALUES {', '.join([values] * len(rows))} "  # noqa: S608
        "ON CONFLICT (project_id, message_id) DO NOTHING RETURNING message_id, seq",
        params,
    )
    return dict(inserted)


def _stored(each: Sealed) -> list[Any]:
    message = each.message
    return [
        each.id,
        message.message_kind,
        each.body_text,
        each.content_hash,
        message.correlation_id or "",
        sql.uid(message.sender_session),
        message.sender_role or "",
        message.claimed_sender,
    ]


def _standing(project_id: UUID, ids: Sequence[str], fresh: Mapping[str, int]) -> dict[str, tuple[int, str]]:
    """The number and content of every id that this call did not insert, or names more than once."""
    if len(fresh) == len(ids):
        return {}
    found = Message.objects.filter(project_id=project_id, message_id__in=set(ids))
    return {name: (seq, content) for name, seq, content in found.values_list("message_id", "seq", "content_hash")}


def _outcome(each: Sealed, fresh: dict[str, int], standing: Mapping[str, tuple[int, str]]) -> Outcome:
    # Popped: the second message of one call with the same id is compared, not taken for the first.
    seq = fresh.pop(each.id, None)
    if seq is not None and standing.get(each.id, (seq, each.content_hash))[1] == each.content_hash:
        return Delivered(each.id, seq, duplicate=False)
    stands = standing[each.id]
    if stands[1] == each.content_hash:
        return Delivered(each.id, stands[0], duplicate=True)
    return problems.conflict(f"There is another message with the id {each.id!r}.", id=each.id)


def nudge(project_id: UUID, names: Sequence[str]) -> None:
    """Wake who reads these addresses, when the open transaction commits."""
    for name in names:
        journal.nudge(f"mailbox:{project_id}:{name}")
        if addresses.is_reserved(name):
            journal.nudge(name)


def counts(project_id: UUID, address: str, *, now: datetime | None = None) -> dict[str, Any]:
    """How many are new, claimed (by a claim that still lives), admitted and in quarantine; the oldest new one's age."""
    addresses.check(address)
    moment = database_now(now)
    lapsed = Q(state=MessageState.CLAIMED, claim_expires_at__lte=moment)
    waiting = Q(state=MessageState.NEW) | lapsed
    found = Message.objects.filter(project_id=project_id, address__name=address).aggregate(
        new=Count("pk", filter=waiting),
        claimed=Count("pk", filter=Q(state=MessageState.CLAIMED) & ~lapsed),
        admitted=Count("pk", filter=Q(state=MessageState.ADMITTED)),
        oldest=Min("received_at", filter=waiting),
    )
    oldest = found.pop("oldest")
    age = (read_database_clock(now) - oldest).total_seconds() if oldest else None
    kept = Quarantined.objects.filter(project_id=project_id, address=address, state=QuarantineState.WAITING)
    return {**found, "quarantined": kept.count(), "oldest_age_secs": age}


def is_empty(project_id: UUID, address: str) -> bool:
    """Whether nothing waits at the address: nothing new, nothing claimed."""
    waiting = Message.objects.filter(project_id=project_id, address__name=address)
    return not waiting.filter(state__in=[MessageState.NEW, MessageState.CLAIMED]).exists()
