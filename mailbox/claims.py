"""Reading a plain address: claim in order under a lease, then acknowledge, give back, or let the lease lapse.

Every verb is one guarded statement. Its guard names the claim's token and, by the database's clock, its end: a
claim that lapsed is dead, whether or not a sweep has seen it yet, and its late owner changes nothing.
"""

from __future__ import annotations

import dataclasses
import uuid
from collections.abc import Collection
from dataclasses import dataclass, field
from datetime import datetime
from uuid import UUID

from django.conf import settings
from django.db import connection

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
    #: What became of the claim before this one, where `follow` acknowledged it.
    acked: Settled | None = None


@dataclass(frozen=True, slots=True)
class Settled:
    """What an `ack` or `nack` did: `unknown` are ids that this claim does not hold (any more)."""

    done: list[str]
    unknown: list[str]


#: A claim, or as much of it as a caller in another process has.
Token = Claim | UUID | str


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
    where, change = moves.waiting(project_id, address, _free(now)), _held(token, lease_secs, consumer, now)
    found = parcels.run(moves.statement(where, change, min(limit, MOST), parcels.COLUMNS))
    if len(found) < limit:
        _quarantine_overdue(project_id, address, now)
    return _as_claim(token, found)


def follow(
    project_id: UUID,
    address: str,
    claim: Claim,
    limit: int = 100,
    lease_secs: float | None = None,
    consumer: str = "",
    *,
    now: datetime | None = None,
) -> Claim:
    """`ack` all of this claim and `drain` what comes after it, in one commit. `acked` says what the ack did."""
    if not claim.token or connection.vendor != "postgresql":
        with journal.transaction():
            acked = ack(project_id, address, claim, now=now)
            following = drain(project_id, address, limit, lease_secs, consumer, now=now)
            return dataclasses.replace(following, acked=acked)
    plain(address)
    token = uuid.uuid4()
    # What is picked asks for what is done, so that rows are locked in this order and not crosswise to another's.
    free = _free(now)
    free = Fragment(f"{free.text} AND (SELECT count(*) FROM done) >= 0", free.params)  # noqa: S608
    parts = {
        "known": moves.pick(_named(project_id, address, claim, None, _live(claim.token, now))),
        "done": moves.changing("known", _admitted(now), "id"),
        "picked": moves.pick(moves.waiting(project_id, address, free), min(limit, MOST)),
        "held": moves.changing("picked", _held(token, lease_secs, consumer, now), parcels.COLUMNS),
    }
    rows = _run(sql.together(parts, "SELECT held.*, (SELECT count(*) FROM done) FROM held"))
    if len(rows) < limit:
        _quarantine_overdue(project_id, address, now)
    ids = [parcel.message_id for parcel in claim.messages]
    whole = rows and rows[0][-1] == len(ids)
    done = set(ids) if whole else _acked_before(project_id, address, claim.token, ids)
    found = _as_claim(token, parcels.read([row[:-1] for row in rows]))
    return dataclasses.replace(found, acked=_settled(ids, done))


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
    where = moves.waiting(project_id, address, held)
    _quarantine_spent(where, address, now)
    token = uuid.uuid4()
    change = _held(token, lease_secs, consumer, now)
    return _as_claim(token, parcels.run(moves.statement(where, change, MOST, parcels.COLUMNS)))


def ack(
    project_id: UUID, address: str, claim: Token, ids: Collection[str] | None = None, *, now: datetime | None = None
) -> Settled:
    """These are done (of a `Claim`: all, unless named).

    Said again by the same claim it is true again; by a dead claim it changes nothing.
    """
    plain(address)
    token, names = _token(claim), _names(claim, ids)
    if token is None or not names:
        return _settled(names, set())
    live = _named(project_id, address, claim, ids, _live(token, now))
    done = {name for (name,) in _run(moves.statement(live, _admitted(now), None, "message_id"))}
    if len(done) < len(set(names)):
        done |= _acked_before(project_id, address, token, names)
    return _settled(names, done)


def nack(
    project_id: UUID,
    address: str,
    claim: Token,
    ids: Collection[str] | None = None,
    delay_secs: float = 0,
    *,
    now: datetime | None = None,
) -> Settled:
    """Give these back; they can be claimed again after the delay, and let others pass until then.

    One that has used up its tries goes into quarantine instead.
    """
    plain(address)
    token, names = _token(claim), _names(claim, ids)
    if token is None or not names:
        return _settled(names, set())
    live = _named(project_id, address, claim, ids, _live(token, now))
    spent = _quarantine_spent(live, address, now)
    due = sql.at(now, delay_secs)
    rows = moves.move(live, _back_to_new(Fragment(f"due_at = {due.text}", due.params)), columns=moves.NAMES)
    if rows and not delay_secs:
        _nudge(project_id, address)
    return _settled(names, {row.message_id for row in rows} | {row.message_id for row in spent})


def extend(
    project_id: UUID, address: str, claim: Token, lease_secs: float | None = None, *, now: datetime | None = None
) -> Claim:
    """Let everything that this claim still holds be held for `lease_secs` from now. A lapsed claim stays dead."""
    plain(address)
    token = _token(claim)
    if token is None:
        return Claim()
    end = sql.at(now, _lease(lease_secs))
    longer = Fragment(f"claim_expires_at = {end.text}", end.params)
    live = moves.waiting(project_id, address, _live(token, now))
    return _as_claim(token, parcels.run(moves.statement(live, longer, None, parcels.COLUMNS)))


def lapse(project_id: UUID, address: str, *, now: datetime | None = None) -> int:
    """Bring one address's lapsed claims back, or into quarantine when their tries are used up."""
    overdue = moves.waiting(project_id, address, _overdue(now))
    spent = _quarantine_spent(overdue, address, now)
    return len(moves.move(overdue, _back_to_new(), columns=moves.NAMES)) + len(spent)


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
    """Refuse a session's address, which only its live line reads, and Wardroom's own."""
    addresses.check(address)
    if addresses.is_reserved(address):
        owner = "A session's mailbox is read by its live line alone."
        own = f"Addresses that begin with {addresses.OWN} are Wardroom's own."
        raise problems.forbidden(owner if addresses.is_session(address) else own, "reserved-address")


def _held(token: UUID, lease_secs: float | None, consumer: str, now: datetime | None) -> Fragment:
    """Under a new claim; this is what a try is."""
    end = sql.at(now, _lease(lease_secs))
    return Fragment(
        "state = 'claimed', claim = %s, consumer = %s, tries = tries + 1, due_at = NULL, "
        f"claim_expires_at = {end.text}",
        (sql.uid(token), consumer, *end.params),
    )


def _admitted(now: datetime | None) -> Fragment:
    clock = sql.at(now)
    return Fragment(f"state = 'admitted', admitted_at = {clock.text}", clock.params)


def _acked_before(project_id: UUID, address: str, token: UUID, ids: Collection[str]) -> set[str]:
    """Those that this claim has acknowledged."""
    rows = Message.objects.filter(project_id=project_id, address__name=address, claim=token, state="admitted")
    return set(rows.filter(message_id__in=ids).values_list("message_id", flat=True))


def _quarantine_overdue(project_id: UUID, address: str, now: datetime | None) -> None:
    _quarantine_spent(moves.waiting(project_id, address, _overdue(now)), address, now)


def _quarantine_spent(where: Fragment, address: str, now: datetime | None) -> list[Message]:
    """Put away those claimed ones of `where` that had all their tries; the address goes on without them (I10)."""
    most = settings.WARDROOM["claim_tries"]
    spent = Fragment(f"{where.text} AND state = 'claimed' AND tries >= %s", (*where.params, most))
    if not _run(Fragment(f"SELECT 1 FROM mailbox_message WHERE {spent.text} LIMIT 1", spent.params)):  # noqa: S608
        return []
    with journal.transaction():
        rows = moves.move(spent, Fragment("state = 'quarantined', claim = NULL"))
        for row in rows:
            quarantine.put_message(row, address, f"claimed {row.tries} times and never acknowledged", now=now)
    return rows


def _back_to_new(due: Fragment | None = None) -> Fragment:
    due = due or Fragment("due_at = NULL")
    return Fragment(f"state = 'new', claim = NULL, consumer = '', claim_expires_at = NULL, {due.text}", due.params)


def _live(token: UUID, now: datetime | None) -> Fragment:
    """Held by this claim, whose lease has not ended: the fence of every verb that a claim's owner may call."""
    clock = sql.at(now)
    return Fragment(
        f"state = 'claimed' AND claim = %s AND claim_expires_at > {clock.text}", (sql.uid(token), *clock.params)
    )


def _named(project_id: UUID, address: str, claim: Token, ids: Collection[str] | None, which: Fragment) -> Fragment:
    """The messages that a claim's owner means; a whole `Claim` knows its rows."""
    if ids is None and isinstance(claim, Claim):
        return moves.numbered(project_id, address, [parcel.pk for parcel in claim.messages], which)
    return moves.named(project_id, address, _names(claim, ids), which)


def _names(claim: Token, ids: Collection[str] | None) -> list[str]:
    if ids is None:
        return [parcel.message_id for parcel in claim.messages] if isinstance(claim, Claim) else []
    return list(dict.fromkeys(ids))


def _free(now: datetime | None) -> Fragment:
    """What a drain may take: new and due, or held by a claim that lapsed, with tries left."""
    clock = sql.at(now)
    # A CASE, because no planner guesses how many rows meet one. From an OR of these it concludes that there are hardly
    # any, and reads and sorts the whole address for a hundred, instead of walking the index until it has them.
    return Fragment(
        f"CASE state WHEN 'new' THEN due_at IS NULL OR due_at <= {clock.text} "
        f"WHEN 'claimed' THEN claim_expires_at <= {clock.text} AND tries < %s ELSE false END",
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
    return sql.run_prepared(statement.text, statement.params, keep=False)


def _settled(ids: list[str], done: set[str]) -> Settled:
    return Settled([each for each in ids if each in done], [each for each in ids if each not in done])


def _token(claim: Token) -> UUID | None:
    if isinstance(claim, Claim):
        return claim.token
    try:
        return claim if isinstance(claim, UUID) else UUID(claim)
    except ValueError:
        return None


def _nudge(project_id: UUID, address: str) -> None:
    with journal.transaction():
        journal.nudge(f"mailbox:{project_id}:{address}")
