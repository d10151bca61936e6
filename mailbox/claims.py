"""Read a plain address: claim in order under a lease, then acknowledge, return, or let the lease expire.

Every operation is one guarded statement. Its guard names the claim's token and requires a lease that has not ended by
the database's clock. So the late owner of an expired claim changes nothing, also before a sweep has seen the claim.
"""

from __future__ import annotations

import dataclasses
import logging
import uuid
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any
from uuid import UUID

from django.db import InterfaceError, OperationalError, connection

from core.display import names
from core.limits import LIMITS
from core.web import faults, problems
from ledger import sweep_batch, unit_of_work
from ledger.sweep_batch import Work
from mailbox import addresses, claimed_message, envelope, quarantine
from mailbox.claimed_message import ClaimedMessage
from mailbox.models import Message
from mailbox.store import pending, receipts, sql
from mailbox.store.pending import Most

MOST = 1000
SHORTEST_LEASE, LONGEST_LEASE = 0.001, 12 * 3600
LONGEST_DELAY = 30 * 86400
EXPIRED = Work("claims_sweep", "claims")
log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Claim:
    """Messages that belong to this caller until the lease ends. Without a token, there was nothing to claim."""

    token: UUID | None = None
    lease_expires_at: datetime | None = None
    messages: list[ClaimedMessage] = field(default_factory=list)
    #: The result of the `ack` that `ack_and_claim` made of the claim before this one.
    acked: Settled | None = None

    def keys(self) -> dict[str, int | None]:
        """The row key of each message, by message id."""
        return {message.message_id: message.pk for message in self.messages}


@dataclass(frozen=True, slots=True)
class Settled:
    """The result of an `ack` or `nack`. `unknown` lists the ids that this claim does not hold, or no longer holds."""

    done: list[str]
    unknown: list[str]


#: A claim, or only its token: a caller in another process has no more.
Token = Claim | UUID | str


def drain(
    project_id: UUID, address: str, limit: int = 100, lease_secs: float | None = None, consumer: str = ""
) -> Claim:
    """Claim up to `limit` messages, oldest first, up to the one that reaches `claim_bytes`. 403 at a session's address.

    A second drain of the same address waits for this one and then takes the messages after it. It does not skip locked
    rows: its later messages would overtake ours if we were rolled back (I3).
    """
    plain(address)
    token, most = uuid.uuid4(), _most(limit)
    params = pending.params(project_id, address, **_claiming(token, lease_secs, consumer, most))
    found = claimed_message.take(_by_size("drain", most), params)
    if len(found) < limit:
        _quarantine_overdue(project_id, address)
    return _as_claim(token, found)


def ack_and_claim(
    project_id: UUID, address: str, claim: Claim, limit: int = 100, lease_secs: float | None = None, consumer: str = ""
) -> Claim:
    """Run `ack` on all of this claim and `drain` the next messages, in one commit. `acked` holds the ack's result."""
    if not claim.token or connection.vendor != "postgresql":
        with unit_of_work.transaction():
            acked = ack(project_id, address, claim)
            following = drain(project_id, address, limit, lease_secs, consumer)
            return dataclasses.replace(following, acked=acked)
    plain(address)
    token, keys, most = uuid.uuid4(), [message.pk for message in claim.messages], _most(limit)
    claiming = _claiming(token, lease_secs, consumer, most)
    params = pending.params(project_id, address, keys=sql.several(keys), old_claim=sql.uid(claim.token), **claiming)
    rows = sql.query(_by_size("ack_and_claim", most), params)
    if len(rows) < limit:
        _quarantine_overdue(project_id, address)
    whole = rows and rows[0][-1] == len(keys)
    done = set(keys) if whole else receipts.acknowledged(project_id, address, claim.token, keys)
    found = _as_claim(token, claimed_message.read([row[:-1] for row in rows]))
    return dataclasses.replace(found, acked=_settled(claim.keys(), done))


def recover(project_id: UUID, address: str, lease_secs: float | None = None, consumer: str = "") -> Claim:
    """Claim expired messages again, and all messages of this consumer. The old claim is dead from here on."""
    plain(address)
    token = uuid.uuid4()
    params = pending.params(project_id, address, **_claiming(token, lease_secs, consumer, _most(MOST)))
    _quarantine_spent("recoverable", address, params)
    with unit_of_work.transaction():
        found = claimed_message.take("recover", params)
        if pending.move("recover_rest", params):
            unit_of_work.wake(f"mailbox:{project_id}:{address}")
    return _as_claim(token, found)


def ack(project_id: UUID, address: str, claim: Token, ids: Collection[str] | None = None) -> Settled:
    """Mark these messages as done; without `ids`, all messages of a `Claim`.

    A repeat by the same claim has the same result. A dead claim changes nothing.
    """
    plain(address)
    token, named = _token(claim), _keys(project_id, claim, ids)
    if token is None or not named:
        return _settled(named, set())
    keys = [key for key in named.values() if key]
    own = sql.uid(token)
    params = pending.params(project_id, address, keys=sql.several(keys), claim=own, old_claim=own)
    # Admit the rows under one receipt.
    if connection.vendor == "postgresql":
        done = {key for (key,) in sql.query("ack", params)}
    else:
        with unit_of_work.transaction():
            rows = pending.move("remove_named_live", params)
            receipts.note(rows, claim=token)
        done = {row.message for row in rows}
    if len(done) < len(keys):
        done |= receipts.acknowledged(project_id, address, token, keys)
    return _settled(named, done)


def nack(
    project_id: UUID, address: str, claim: Token, ids: Collection[str] | None = None, delay_secs: float = 0
) -> Settled:
    """Return these messages. They can be claimed again after the delay; until then, later messages may pass them.

    A message without tries left goes into quarantine instead.
    """
    plain(address)
    delay = sql.seconds(_secs("delay_secs", delay_secs, LONGEST_DELAY))
    token, named = _token(claim), _keys(project_id, claim, ids)
    if token is None or not named:
        return _settled(named, set())
    keys = sql.several([key for key in named.values() if key])
    params = pending.params(project_id, address, keys=keys, claim=sql.uid(token), secs=delay)
    spent = _quarantine_spent("named_live", address, params)
    rows = pending.move("nack", params)
    if rows and not delay_secs:
        _wake(project_id, address)
    return _settled(named, {row.message for row in rows} | spent)


def extend(project_id: UUID, address: str, claim: Token, lease_secs: float | None = None) -> Claim:
    """Extend the lease of every message that this claim holds to `lease_secs` from now. An expired claim stays dead."""
    plain(address)
    token = _token(claim)
    if token is None:
        return Claim()
    secs = sql.seconds(_lease(lease_secs))
    params = pending.params(project_id, address, claim=sql.uid(token), secs=secs)
    return _as_claim(token, claimed_message.take("extend", params))


def expire(project_id: UUID, address: str) -> int:
    """Return one address's expired claims to `new`. Quarantine the messages without tries left."""
    params = pending.params(project_id, address)
    spent = _quarantine_spent("overdue", address, params)
    return len(pending.move("expire", params)) + len(spent)


def expire_due(limit: int = 500) -> int:
    """Expire overdue claims of every address, at most `limit` addresses a run. Return the number of messages."""

    def find(most: int) -> list[tuple[UUID, str]]:
        due = sql.query("overdue_addresses", {"now": sql.now(), "most": most})
        return [(project if isinstance(project, UUID) else UUID(project), name) for _, project, name in due]

    return sweep_batch.each(EXPIRED, find, lambda at: _expire_at(*at), limit=limit)


def _expire_at(project_id: UUID, address: str) -> int:
    """Expire all overdue claims of one address at once; if that fails, each alone. Raise the first error at the end."""
    trouble: Exception | None = None
    try:
        expired = expire(project_id, address)
    except Exception as error:
        expired, trouble = 0, error
        for (key,) in sql.query("overdue_keys", pending.params(project_id, address)):
            try:
                params = pending.params(project_id, address, keys=sql.several([key]))
                spent = _quarantine_spent("named_overdue", address, params)
                expired += len(pending.move("expire_named", params)) + len(spent)
            except Exception:
                log.exception("the claim of message %s at %s cannot expire", key, address)
    if expired:
        _wake(project_id, address)
    if trouble:
        raise trouble
    return expired


def plain(address: str) -> None:
    """Raise 403 for a session's address, which only its live connection reads, and for Wardroom's own."""
    addresses.check(address)
    if addresses.is_reserved(address):
        owner = "Only its live connection reads a session's mailbox."
        own = f"Addresses that begin with {addresses.OWN} are Wardroom's own."
        raise problems.forbidden(owner if addresses.is_session(address) else own, "reserved-address")


def _claiming(token: UUID, lease_secs: float | None, consumer: str, most: Most) -> dict[str, Any]:
    """Return the parameters that put rows under a new claim."""
    secs = sql.seconds(_lease(lease_secs))
    return {"claim": sql.uid(token), "consumer": consumer, "secs": secs, "most": most.messages, "bytes": most.bytes}


def _by_size(name: str, most: Most) -> str:
    """Return the name of the statement that counts bytes, unless so few messages cannot be too many bytes."""
    return name if most.messages * LIMITS.max_body_bytes <= most.bytes else f"{name}_bytes"


def _quarantine_overdue(project_id: UUID, address: str) -> None:
    """Quarantine spent messages before a claim. A failure is logged and the claim goes on: the sweep reports it."""
    try:
        _quarantine_spent("overdue", address, pending.params(project_id, address), alone=True)
    except (OperationalError, InterfaceError):
        raise
    except Exception:
        log.exception("messages without tries left at %s cannot be quarantined", address)


def _quarantine_spent(which: str, address: str, params: dict[str, Any], *, alone: bool = False) -> set[int]:
    """Quarantine the claimed rows without tries left that a statement finds, so that the address goes on without them
    (I10). `alone`: a failure undoes nothing else.
    """
    if not sql.query(f"has_spent_{which}", params):
        return set()
    with unit_of_work.savepoint() if alone else unit_of_work.transaction():
        rows = pending.move(f"remove_spent_{which}", params)
        for row in rows:
            quarantine.dead_letter(row, address, f"claimed {row.tries} times and never acknowledged")
    return {row.message for row in rows}


def _keys(project_id: UUID, claim: Token, ids: Collection[str] | None) -> dict[str, int | None]:
    """Map each named id to its row's key. The key is None for an id that no message has."""
    own = claim.keys() if isinstance(claim, Claim) else {}
    if ids is None:
        return own
    if all(name in own for name in ids):
        return {name: own[name] for name in ids}
    known = {name for name in ids if names.is_name(name, envelope.LONGEST_ID)}
    rows = Message.objects.filter(project_id=project_id, message_id__in=known)
    return dict.fromkeys(ids) | dict(rows.values_list("message_id", "pk"))


def _lease(lease_secs: float | None) -> float:
    usual = float(LIMITS.claim_lease_secs)
    return usual if lease_secs is None else _secs("lease_secs", lease_secs, LONGEST_LEASE, SHORTEST_LEASE)


def _secs(field: str, secs: float, most: float, least: float = 0) -> float:
    if not isinstance(secs, (int, float)) or not least <= secs <= most:
        raise problems.invalid([faults.wrong(field, secs, faults.number(least, most))])
    return secs


def _most(limit: int) -> Most:
    if not isinstance(limit, int) or limit < 1:
        raise problems.invalid([faults.wrong("limit", limit, faults.whole(1))])
    return Most(min(limit, MOST), LIMITS.claim_bytes)


def _as_claim(token: UUID, found: list[ClaimedMessage]) -> Claim:
    return Claim(token, found[0].claim_expires_at, found) if found else Claim()


def _settled(named: Mapping[str, int | None], done: Collection[int]) -> Settled:
    unknown = [name for name, key in named.items() if key not in done]
    return Settled([name for name in named if name not in set(unknown)], unknown)


def _token(claim: Token) -> UUID | None:
    if isinstance(claim, Claim):
        return claim.token
    try:
        return claim if isinstance(claim, UUID) else UUID(claim)
    except ValueError:
        return None


def _wake(project_id: UUID, address: str) -> None:
    with unit_of_work.transaction():
        unit_of_work.wake(f"mailbox:{project_id}:{address}")
