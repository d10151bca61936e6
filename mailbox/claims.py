"""Reading a plain address: claim in order under a lease, then acknowledge, give back, or let the lease lapse.

Every verb is one guarded statement. Its guard names the claim's token and, by the database's clock, its end: a
claim that lapsed is dead, whether or not a sweep has seen it yet, and its late owner changes nothing.
"""

from __future__ import annotations

import uuid
from collections.abc import Collection
from dataclasses import dataclass, field
from datetime import datetime
from uuid import UUID

from django.conf import settings

from accounts import problems
from ledger import journal
from mailbox import addresses, moves, parcels, quarantine, sql
from mailbox.models import Message
from mailbox.parcels import Parcel
from mailbox.sql import Fragment

MOST = 1000


@dataclass(frozen=True, slots=True)
class Claim:
    """Messages that are this caller's until the lease ends. No token: there was nothing to claim."""

    token: UUID | None = None
    lease_expires_at: datetime | None = None
    messages: list[Parcel] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Settled:
    """What an `ack` or `nack` did: `unknown` are ids that this claim does not hold (any more)."""

    done: list[str]
    unknown: list[str]


def drain(
    project_id: UUID,
    address: str,
    limit: int = 100,
    lease_secs: float | None = None,
    consumer: str = "",
    *,
    now: datetime | None = None,
) -> Claim:
    """Claim up to `limit` messages, oldest first. 403 at a session's address.

    Who else may be here: another drain of the same address. It waits for ours and then takes what follows;
    skipping what we hold would let its later messages overtake ours, should we be rolled back (I3).
    """
    plain(address)
    token = uuid.uuid4()
    found = _hold(project_id, address, token, _free(now), limit, lease_secs, consumer, now)
    if len(found) < limit:
        _quarantine_spent(project_id, _overdue(now), now, address)
    return _as_claim(token, found)


def recover(
    project_id: UUID,
    address: str,
    lease_secs: float | None = None,
    consumer: str = "",
    *,
    now: datetime | None = None,
) -> Claim:
    """Claim anew what lapsed, and what this very consumer held before; the old claim is dead from here on."""
    plain(address)
    clock = sql.at(now)
    held = Fragment(
        f"state = 'claimed' AND (claim_expires_at <= {clock.text} OR (consumer <> '' AND consumer = %s))",
        (*clock.params, consumer),
    )
    _quarantine_spent(project_id, held, now, address)
    token = uuid.uuid4()
    return _as_claim(token, _hold(project_id, address, token, held, MOST, lease_secs, consumer, now))


def ack(
    project_id: UUID, address: str, claim: str | UUID, ids: Collection[str], *, now: datetime | None = None
) -> Settled:
    """These are done. Said again by the same claim it is true again; by a dead claim it changes nothing."""
    plain(address)
    token = _token(claim)
    if token is None or not ids:
        return _settled(ids, set())
    clock = sql.at(now)
    live = _live(project_id, token, ids, now)
    done_now = Fragment(f"state = 'admitted', admitted_at = {clock.text}", clock.params)
    rows = _run(moves.statement(project_id, address, done_now, live, None, "message_id"))
    done = {name for (name,) in rows}
    if len(done) < len(set(ids)):
        before = Message.objects.filter(
            project_id=project_id, address__name=address, claim=token, state="admitted", message_id__in=ids
        )
        done |= set(before.values_list("message_id", flat=True))
    return _settled(ids, done)


def nack(
    project_id: UUID,
    address: str,
    claim: str | UUID,
    ids: Collection[str],
    delay_secs: float = 0,
    *,
    now: datetime | None = None,
) -> Settled:
    """Give these back; they can be claimed again after the delay, and let others pass until then.

    One that has used up its tries goes into quarantine instead.
    """
    plain(address)
    token = _token(claim)
    if token is None or not ids:
        return _settled(ids, set())
    live = _live(project_id, token, ids, now)
    spent = _quarantine_spent(project_id, live, now, address)
    due = sql.at(now, delay_secs)
    rows = moves.move(
        project_id, address, _back_to_new(Fragment(f"due_at = {due.text}", due.params)), live, columns=moves.NAMES
    )
    if rows and not delay_secs:
        _nudge(project_id, address)
    return _settled(ids, {row.message_id for row in rows} | {row.message_id for row in spent})


def extend(
    project_id: UUID, address: str, claim: str | UUID, lease_secs: float | None = None, *, now: datetime | None = None
) -> Claim:
    """Let everything that this claim still holds be held for `lease_secs` from now. A lapsed claim stays dead."""
    plain(address)
    token = _token(claim)
    if token is None:
        return Claim()
    end = sql.at(now, _lease(lease_secs))
    longer = Fragment(f"claim_expires_at = {end.text}", end.params)
    live = _live(project_id, token, None, now)
    return _as_claim(token, parcels.run(moves.statement(project_id, address, longer, live, None, parcels.columns())))


def lapse(project_id: UUID, address: str, *, now: datetime | None = None) -> int:
    """Bring one address's lapsed claims back, or into quarantine when their tries are used up."""
    overdue = _overdue(now)
    spent = _quarantine_spent(project_id, overdue, now, address)
    return len(moves.move(project_id, address, _back_to_new(), overdue, columns=moves.NAMES)) + len(spent)


def lapse_due(limit: int = 500, *, now: datetime | None = None) -> int:
    """The sweep: bring back lapsed claims of every address, at most `limit` in one run. Returns how many."""
    clock = sql.at(now)
    statement = f"""
        SELECT DISTINCT a.project_id, a.name FROM mailbox_message m JOIN mailbox_address a ON a.id = m.address_id
        WHERE m.waits AND m.state = 'claimed' AND m.claim_expires_at <= {clock.text} LIMIT %s
    """  # noqa: S608 - our own words
    due = sql.run(statement, [*clock.params, limit])
    count = 0
    for project, address in due:
        project_id = project if isinstance(project, UUID) else UUID(project)
        count += (lapsed := lapse(project_id, address, now=now))
        if lapsed:
            _nudge(project_id, address)
    return count


def plain(address: str) -> None:
    """Refuse a session's address: only its live line reads it."""
    addresses.check(address)
    if addresses.is_reserved(address):
        raise problems.forbidden("A session's mailbox is read by its live line alone.", "reserved-address")


def _hold(
    project_id: UUID,
    address: str,
    token: UUID,
    where: Fragment,
    limit: int,
    lease_secs: float | None,
    consumer: str,
    now: datetime | None,
) -> list[Parcel]:
    """Put messages under a new claim; this is what a try is."""
    end = sql.at(now, _lease(lease_secs))
    change = Fragment(
        "state = 'claimed', claim = %s, consumer = %s, tries = tries + 1, due_at = NULL, "
        f"claim_expires_at = {end.text}",
        (sql.uid(token), consumer, *end.params),
    )
    return parcels.run(moves.statement(project_id, address, change, where, min(limit, MOST), parcels.columns()))


def _quarantine_spent(project_id: UUID, where: Fragment, now: datetime | None, address: str) -> list[Message]:
    """Put away those of `where` that have had all their tries; the address goes on without them (I10)."""
    most = settings.WARDROOM["claim_tries"]
    spent = Fragment(f"tries >= %s AND {where.text}", (most, *where.params))
    scope, params = moves.scope(project_id, address)
    seen = sql.run_prepared(
        f"SELECT 1 FROM mailbox_message WHERE {scope} AND waits AND state = 'claimed' AND {spent.text} LIMIT 1",  # noqa: S608
        [*params, *spent.params],
    )
    if not seen:
        return []
    with journal.transaction():
        rows = moves.move(project_id, address, Fragment("state = 'quarantined', claim = NULL"), spent)
        for row in rows:
            quarantine.put_message(row, address, f"claimed {row.tries} times and never acknowledged", now=now)
    return rows


def _back_to_new(due: Fragment | None = None) -> Fragment:
    due = due or Fragment("due_at = NULL")
    return Fragment(f"state = 'new', claim = NULL, consumer = '', claim_expires_at = NULL, {due.text}", due.params)


def _live(project_id: UUID, token: UUID, ids: Collection[str] | None, now: datetime | None) -> Fragment:
    """Held by this claim, whose lease has not ended: the fence of every verb that a claim's owner may call."""
    clock = sql.at(now)
    text = f"state = 'claimed' AND claim = %s AND claim_expires_at > {clock.text}"
    params = (sql.uid(token), *clock.params)
    if ids is None:
        return Fragment(text, params)
    named = sql.among("message_id", sorted(set(ids)))
    return Fragment(
        f"project_id = %s AND {named.text} AND {text}",
        (sql.uid(project_id), *named.params, *params),
    )


def _free(now: datetime | None) -> Fragment:
    """What a drain may take: new and due, or held by a claim that lapsed, with tries left."""
    clock = sql.at(now)
    return Fragment(
        f"((state = 'new' AND (due_at IS NULL OR due_at <= {clock.text})) "
        f"OR (state = 'claimed' AND claim_expires_at <= {clock.text} AND tries < %s))",
        (*clock.params, *clock.params, settings.WARDROOM["claim_tries"]),
    )


def _overdue(now: datetime | None) -> Fragment:
    clock = sql.at(now)
    return Fragment(f"state = 'claimed' AND claim_expires_at <= {clock.text}", clock.params)


def _lease(lease_secs: float | None) -> float:
    return settings.WARDROOM["claim_lease_secs"] if lease_secs is None else lease_secs


def _as_claim(token: UUID, found: list[Parcel]) -> Claim:
    # One statement gave them all the same end.
    return Claim(token, found[0].claim_expires_at, found) if found else Claim()


def _run(statement: Fragment) -> list[sql.Row]:
    return sql.run_prepared(statement.text, statement.params)


def _settled(ids: Collection[str], done: set[str]) -> Settled:
    named = list(dict.fromkeys(ids))
    return Settled([each for each in named if each in done], [each for each in named if each not in done])


def _token(claim: str | UUID) -> UUID | None:
    try:
        return claim if isinstance(claim, UUID) else UUID(claim)
    except ValueError:
        return None


def _nudge(project_id: UUID, address: str) -> None:
    with journal.transaction():
        journal.nudge(f"mailbox:{project_id}:{address}")
