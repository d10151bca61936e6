"""Quarantine: unreadable messages, and messages without tries left. Each is kept as it came, shown to staff, and
requeued or discarded.
"""

from __future__ import annotations

import dataclasses
import uuid
from collections.abc import Mapping, Sequence
from typing import Any
from uuid import UUID

from django.db.models import Exists, OuterRef

from accounts import projects
from accounts.actors import Actor
from accounts.scopes import STEER
from core.db.clock import database_now
from core.limits import LIMITS
from core.web import faults, problems
from core.web.problems import Problem
from ledger import unit_of_work
from mailbox import addresses, bamboo, delivery, envelope, schemas
from mailbox.envelope import NewMessage
from mailbox.models import Message, Quarantined, Waiting
from mailbox.states import QUARANTINE_ARROWS, QuarantineState, sources
from mailbox.store import insert
from mailbox.store.pending import Moved
from wardroom import strict

LONGEST_REASON = 4000
#: The limit of the column.
LARGEST_SIZE = 2**31 - 1
#: The states that need no person any more.
SETTLED = sorted(state.value for state, onward in QUARANTINE_ARROWS.items() if not onward)


def most_bytes() -> int:
    """Return the limit of stored bytes per message. It is above every read limit, so that a cut message never passes as
    whole.
    """
    return 2 * envelope.most_bytes()


def put(
    project_id: UUID | None,
    raw: bytes,
    source: str,
    reason: str,
    *,
    size: int | None = None,
    position: int | None = None,
    address: str = "",
    message_id: str = "",
    source_ref: str = "",
) -> Quarantined:
    """Store bytes that could not be read. The same `source_ref` again returns the same row.

    `raw` is cut at `most_bytes()`. `size` is the original number of bytes, where the caller has only the first ones.
    """
    with unit_of_work.transaction():
        if source_ref:
            known = Quarantined.objects.filter(project=project_id, source=source, source_ref=source_ref).first()
            if known:
                return known
        row = Quarantined.objects.create(
            project_id=project_id,
            raw=raw[: most_bytes()],
            size=min(len(raw) if size is None else size, LARGEST_SIZE),
            source=source,
            source_ref=source_ref,
            reason=reason[:LONGEST_REASON],
            position=position,
            address=_storable(address, addresses.LONGEST),
            message_id=_storable(message_id, envelope.LONGEST_ID),
        )
        _record(row, "message_quarantined")
    return row


def reason_of(refusal: Problem) -> str:
    """Return a refusal as one line for people."""
    return str(refusal)


def dead_letter(moved: Moved, address: str, reason: str) -> Quarantined:
    """Quarantine an accepted message. The caller has just deleted its pending row."""
    Message.objects.filter(pk=moved.message).update(dead_lettered=True, spent_tries=moved.tries)
    message = Message.objects.get(pk=moved.message)
    row = Quarantined.objects.create(
        project_id=message.project_id,
        raw=(raw := schemas.envelope_bytes(message)),
        size=len(raw),
        source="mailbox",
        reason=reason,
        address=address,
        message_id=message.message_id,
        accepted=message,
        created_at=database_now(),
    )
    _record(row, "message_quarantined")
    return row


def requeue(
    quarantine_id: UUID,
    actor: Actor,
    raw: bytes | None = None,
    *,
    address: str | None = None,
    project_id: UUID | None = None,
) -> Quarantined:
    """Validate again, as stored or as edited, and deliver to the mailbox under its own id. A repeat changes nothing.

    422 if it still cannot be read; it then stays in quarantine. 409 if it was discarded. 403 for a session's address if
    the actor may not send messages to that session.
    """
    with unit_of_work.transaction():
        if not _settle(quarantine_id, QuarantineState.REQUEUED, actor, "", project_id):
            return _expect_state(quarantine_id, QuarantineState.REQUEUED, project_id)
        row = _get(quarantine_id, project_id)
        message, named = _read(row, bytes(row.raw) if raw is None else raw)
        target = row.address if row.accepted else address or row.address or named
        if not isinstance(target, str):
            raise problems.invalid([faults.wrong("address", target, faults.string())], "Its address is not known.")
        if addresses.is_session(target) and not actor.holds(STEER):
            raise problems.forbidden(f"A message to a session needs the permission {STEER}.")
        if row.accepted:
            _revive(row.accepted, target, message)
        else:
            delivery.deliver(_project(row), target, [message])
        Quarantined.objects.filter(pk=row.pk).update(address=target, message_id=message.id)
        row.refresh_from_db()
        _record(row, "message_requeued", actor, edited=raw is not None)
    return row


def discard(quarantine_id: UUID, actor: Actor, note: str, *, project_id: UUID | None = None) -> Quarantined:
    """Discard it for good, with a note that says why. A repeat changes nothing; 409 if it was requeued."""
    if not note.strip():
        raise problems.invalid([faults.wrong("note", note, "a string that is not blank")], "A note is required.")
    with unit_of_work.transaction():
        if not _settle(quarantine_id, QuarantineState.DISCARDED, actor, note, project_id):
            return _expect_state(quarantine_id, QuarantineState.DISCARDED, project_id)
        row = _get(quarantine_id, project_id)
        _record(row, "message_discarded", actor, note=note)
    return row


def due(before: Any, limit: int, after: UUID | None = None) -> list[UUID]:
    """Return the next rows after this key that were settled before this moment. Waiting rows are never among them."""
    settled = Quarantined.objects.filter(state__in=SETTLED, settled_at__lt=before)
    rows = settled if after is None else settled.filter(pk__gt=after)
    return list(rows.order_by("pk").values_list("pk", flat=True)[:limit])


def forget(keys: Sequence[UUID]) -> int:
    """Delete these settled rows. Return their number.

    The message behind a discarded row is deleted too: it was not admitted and never will be.
    """
    settled = Quarantined.objects.filter(state__in=SETTLED, pk__in=keys)
    with unit_of_work.transaction():
        accepted = {key for key in settled.values_list("accepted", flat=True) if key}
        gone: int = settled.only("pk").delete()[0]
        dead = Message.objects.filter(pk__in=accepted, dead_lettered=True)
        dead.filter(~Exists(Quarantined.objects.filter(accepted=OuterRef("pk")))).only("pk").delete()
    return gone


def _settle(quarantine_id: UUID, to: QuarantineState, actor: Actor, note: str, project_id: UUID | None) -> bool:
    """Run the one guarded UPDATE of a quarantined row's state."""
    rows = Quarantined.objects.filter(pk=quarantine_id, state__in=sources(QUARANTINE_ARROWS, to))
    if project_id:
        rows = rows.filter(project_id=project_id)
    return bool(rows.update(state=to, settled_at=database_now(), settled_by=str(actor), note=note))


def _expect_state(quarantine_id: UUID, wanted: QuarantineState, project_id: UUID | None) -> Quarantined:
    row = _get(quarantine_id, project_id)
    if row.state != wanted:
        raise problems.conflict(f"It was {row.state} before.", state=row.state)
    return row


def _get(quarantine_id: UUID, project_id: UUID | None) -> Quarantined:
    rows = Quarantined.objects.select_related("accepted")
    found = rows.filter(pk=quarantine_id, **({"project_id": project_id} if project_id else {})).first()
    if found is None:
        raise problems.not_found()
    return found


def _revive(message: Message, address: str, edited: NewMessage) -> None:
    """Return an accepted message to its own row and number, with its edits and with no tries used."""
    edited = dataclasses.replace(
        edited,
        sender_session=message.sender_session,
        sender_role=message.sender_role,
        claimed_sender=message.claimed_sender,
    )
    validated = envelope.validate(address, edited, internal=True)
    moved = Message.objects.filter(pk=message.pk, dead_lettered=True).update(
        dead_lettered=False,
        spent_tries=0,
        message_kind=edited.message_kind,
        body_text=validated.body_text,
        content_hash=validated.content_hash,
        correlation_id=edited.correlation_id or "",
    )
    if not moved:
        raise problems.conflict("The message is no longer in quarantine.")
    size = len(validated.body_text.encode())
    Waiting.objects.create(message_id=message.pk, address_id=message.address_id, seq=message.seq, size=size)
    insert.wake(message.project_id, [address])


def _read(row: Quarantined, raw: bytes) -> tuple[NewMessage, Any]:
    """Return the message in these bytes, and the address that they name, of any type.

    The message keeps its id. Without one, derive it from the quarantine row, so that a repeat is the same message.
    """
    found = strict.loads(
        raw,
        max_bytes=envelope.most_bytes(),
        max_depth=LIMITS.max_depth + 1,
        max_keys=LIMITS.max_keys,
    )
    if not isinstance(found, Mapping):
        raise problems.invalid([faults.wrong("", found, faults.OBJECT)], "The message is not valid.")
    message = envelope.read(bamboo.to_envelope(found) if row.source == bamboo.SOURCE else found)
    if row.message_id and message.id not in (None, row.message_id):
        raise problems.invalid([{"field": "id", "detail": f"stays {row.message_id!r}"}], "The id is kept.")
    id = row.message_id or message.id or str(uuid.uuid5(row.id, "requeued"))
    return dataclasses.replace(message, id=id, claimed_sender=True), found.get("address")


def _project(row: Quarantined) -> UUID:
    return row.project_id or projects.default().pk


def _storable(text: str, longest: int) -> str:
    """Return a broken message's own text in a form that a column can hold."""
    return text.encode(errors="replace").decode().replace("\0", "")[:longest]


def _record(row: Quarantined, event: str, actor: Actor | None = None, **detail: Any) -> None:
    about = {"quarantine_id": str(row.pk), "address": row.address, "message_id": row.message_id}
    project_id = _project(row)
    unit_of_work.event(project_id, event, {**about, "source": row.source})
    if actor:
        action = event.replace("message_", "quarantine.")
        unit_of_work.audit(project_id, actor, action, str(row.pk), {**about, **detail})
