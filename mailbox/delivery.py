"""Delivering messages: validated, accepted once per id, in order, durable before anyone is told."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from django.db import connection
from django.db.models import Count, Min, Q

from core.db.clock import database_now, overridden, read_database_clock
from core.web.problems import Problem
from ledger import unit_of_work
from mailbox import addresses, envelope
from mailbox.envelope import NewMessage, ValidatedMessage
from mailbox.models import Message, Quarantined, Waiting
from mailbox.states import MessageState, QuarantineState
from mailbox.store import group_commit, insert
from mailbox.store.group_commit import Pending
from mailbox.store.insert import Delivered, Outcome

__all__ = [
    "Delivered",
    "Outcome",
    "Post",
    "counts",
    "deliver",
    "deliver_each",
    "deliver_each_to",
    "deliver_posts",
    "is_empty",
]


def deliver(
    project_id: UUID, address: str, messages: Sequence[NewMessage], *, internal: bool = False
) -> list[Delivered]:
    """Accept all of the messages, in their order, or accept none and raise the first refusal.

    Inside an open transaction they belong to it; outside, they are durable when this returns. The same id with the same
    content is the same message; with other content it is a 409 `conflict`. `internal` allows the kinds that only
    Wardroom's own operations send.
    """
    address = _checked(project_id, address, internal)
    validated = [(address, envelope.validate(address, message, internal=internal)) for message in messages]
    delivered: list[Delivered] = []
    for outcome in _post(project_id, validated, whole=True):
        if isinstance(outcome, Problem):
            raise outcome
        delivered.append(outcome)
    return delivered


def deliver_each(
    project_id: UUID, address: str, messages: Sequence[NewMessage | Problem], *, internal: bool = False
) -> list[Outcome]:
    """Accept each message independently: one refusal does not affect the others. Return the outcomes in the same order.

    An error of the address itself is raised: 422, or 404 for the address of a session that does not exist.
    """
    address = _checked(project_id, address, internal)
    return _deliver_each(project_id, [(address, each) for each in messages], internal)


def deliver_each_to(
    project_id: UUID, messages: Sequence[tuple[str, NewMessage | Problem]], *, internal: bool = False
) -> list[Outcome]:
    """`deliver_each` for messages of many addresses, in one transaction, with their locks taken in one order."""
    messages = [(addresses.canonical(to), message) for to, message in messages]
    wrong = {address: _refusal(project_id, address, internal) for address in dict.fromkeys(to for to, _ in messages)}
    checked = [(address, wrong[address] or message) for address, message in messages]
    return _deliver_each(project_id, checked, internal)


@dataclass(frozen=True, slots=True)
class Post:
    """One caller's messages for one address, each accepted or refused independently."""

    project_id: UUID
    address: str
    messages: Sequence[NewMessage | Problem]


def deliver_posts(posts: Sequence[Post]) -> list[list[Outcome] | Exception]:
    """`deliver_each` for many callers at once, outside a transaction, in shared commits. Each caller gets its own
    error.
    """
    validated: list[_Validated | Exception] = []
    for post in posts:
        try:
            address = addresses.canonical(post.address)
            refusal = _refusal(post.project_id, address, internal=False)
            validated.append(refusal or [(address, _validate(address, each, internal=False)) for each in post.messages])
        except Exception as error:  # Expected or not, it belongs to this caller: others share the thread.
            validated.append(error)
    entries = [Pending(post.project_id, _good(each), whole=False) for post, each in zip(posts, validated, strict=True)]
    group_commit.settle([entry for entry in entries if entry.messages])
    return [
        each if isinstance(each, Exception) else entry.error or _in_order(each, entry.outcomes or [])
        for each, entry in zip(validated, entries, strict=True)
    ]


#: Messages after validation, in their order, each with its address.
_Validated = list[tuple[str, ValidatedMessage | Problem]]


def _good(validated: _Validated | Exception) -> list[tuple[str, ValidatedMessage]]:
    if isinstance(validated, Exception):
        return []
    return [(address, each) for address, each in validated if isinstance(each, ValidatedMessage)]


def _in_order(validated: _Validated, outcomes: Sequence[Outcome]) -> list[Outcome]:
    """Merge the outcomes of the valid messages with the refusals of the others, in the original order."""
    found = iter(outcomes)
    return [next(found) if isinstance(each, ValidatedMessage) else each for _, each in validated]


def _deliver_each(
    project_id: UUID, messages: Sequence[tuple[str, NewMessage | Problem]], internal: bool
) -> list[Outcome]:
    validated: _Validated = [(address, _validate(address, message, internal)) for address, message in messages]
    good = _good(validated)
    return _in_order(validated, _post(project_id, good, whole=False) if good else [])


def _post(project_id: UUID, validated: Sequence[tuple[str, ValidatedMessage]], *, whole: bool) -> list[Outcome]:
    """Accept into the open transaction if there is one, otherwise in a commit shared with other callers of this
    process.
    """
    if overridden() is None and not connection.in_atomic_block:
        return group_commit.post(Pending(project_id, validated, whole))
    with unit_of_work.transaction():
        outcomes = insert.accept(project_id, validated)
        refusal = next((outcome for outcome in outcomes if isinstance(outcome, Problem)), None)
        if whole and refusal:
            raise refusal
    return outcomes


def _validate(address: str, message: NewMessage | Problem, internal: bool) -> ValidatedMessage | Problem:
    if isinstance(message, Problem):
        return message
    try:
        return envelope.validate(address, message, internal=internal)
    except Problem as refusal:
        return refusal


def _checked(project_id: UUID, address: str, internal: bool) -> str:
    address = addresses.check(address)
    if not internal:
        addresses.check_deliverable(project_id, address)
    return address


def _refusal(project_id: UUID, address: str, internal: bool) -> Problem | None:
    try:
        _checked(project_id, address, internal)
    except Problem as refusal:
        return refusal
    return None


def counts(project_id: UUID, address: str) -> dict[str, Any]:
    """Count the new, claimed (by a live claim), admitted and quarantined messages, with the age of the oldest new."""
    address = addresses.check(address)
    moment = database_now()
    live = Q(waiting__state=MessageState.CLAIMED, waiting__claim_expires_at__gt=moment)
    found = Message.objects.filter(project_id=project_id, address__name=address).aggregate(
        new=Count("pk", filter=Q(waiting__isnull=False) & ~live),
        claimed=Count("pk", filter=live),
        admitted=Count("pk", filter=Q(waiting=None, dead_lettered=False)),
        oldest=Min("received_at", filter=Q(waiting__isnull=False) & ~live),
    )
    oldest = found.pop("oldest")
    age = (read_database_clock() - oldest).total_seconds() if oldest else None
    kept = Quarantined.objects.filter(project_id=project_id, address=address, state=QuarantineState.WAITING)
    return {**found, "quarantined": kept.count(), "oldest_age_secs": age}


def is_empty(project_id: UUID, address: str) -> bool:
    """True if no message at the address is new or claimed."""
    return not Waiting.objects.filter(address__project=project_id, address__name=address).exists()
