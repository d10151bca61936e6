"""Write a mailbox as the reference system keeps one: `new/`, `cur/` and `corrupt/`, with one JSON file per message.

`new/` has the unclaimed messages, `cur/` the claimed ones, and `corrupt/` the bytes of those that wait in quarantine.
The names of the files put them in the order of the mailbox. Nothing in the mailbox is changed. A second export writes
only what is new; an interrupted one leaves whole files and hidden ones.
"""

from __future__ import annotations

import errno
import hashlib
import json
import os
import re
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from uuid import UUID

from core.db.batches import in_batches
from core.db.clock import moment
from mailbox import message_kinds
from mailbox.models import Address, Message, Quarantined
from mailbox.states import PUBLIC_KINDS, MessageState, QuarantineState

CHUNK = 200
#: The length of the number that begins a name, with its dash.
NUMBER = 21
# A name has at most 255 bytes, with its number and its ending.
_PLAIN = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,199}")
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(slots=True)
class Tally:
    """The number of files in each part. `there`: written by an earlier export. `own`: Wardroom's own, left out."""

    new: int = 0
    cur: int = 0
    corrupt: int = 0
    there: int = 0
    own: int = 0


def export_folder(project_id: UUID, address: str, folder: Path) -> Tally:
    """Write every unread message of the mailbox, and its quarantined ones.

    Raises LookupError when there is no such mailbox, and OSError.
    """
    box = Address.objects.filter(project=project_id, name=address).first()
    if box is None:
        raise LookupError(f"There is no mailbox {address!r} in this project.")
    for part in ("new", "cur", "corrupt"):
        (folder / part).mkdir(mode=0o700, parents=True, exist_ok=True)
        if (folder / part).is_symlink():
            # Messages would go to a place that the caller did not name, perhaps one that others read.
            raise OSError(errno.ELOOP, f"{part}/ is a link")
    tally = Tally()
    written = {name[NUMBER:] for part in ("new", "cur") for name in os.listdir(folder / part)}
    number = 0
    for row in in_batches(Message.objects.filter(address=box, waiting__isnull=False).placed(), ("seq",), CHUNK):
        # The numbers rise, also where the senders' clocks do not.
        number = max(number + 1, _nanoseconds(row.created_at))
        if row.message_kind not in PUBLIC_KINDS:
            tally.own += 1
            continue
        part = "cur" if row.waiting.state == MessageState.CLAIMED else "new"
        id = row.message_id
        named = f"{id if _PLAIN.fullmatch(id) else hashlib.sha256(id.encode()).hexdigest()}.json"
        if named in written:
            tally.there += 1
            continue
        content = {
            "id": row.message_id,
            "from": {"session_id": row.sender_session, **({"role": row.sender_role} if row.sender_role else {})},
            "kind": row.message_kind,
            "body": message_kinds.stored(row.body_text),
            "created_at": moment(row.created_at),
            **({"correlation_id": row.correlation_id} if row.correlation_id else {}),
        }
        _write(folder / part / f"{number:020}-{named}", json.dumps(content, ensure_ascii=False).encode())
        setattr(tally, part, getattr(tally, part) + 1)
    broken = Quarantined.objects.filter(project=project_id, address=address, state=QuarantineState.WAITING)
    for kept in in_batches(broken, ("created_at", "pk"), CHUNK):
        fresh = _write(folder / "corrupt" / f"{_nanoseconds(kept.created_at):020}-{kept.pk}.json", bytes(kept.raw))
        tally.corrupt, tally.there = tally.corrupt + fresh, tally.there + (not fresh)
    return tally


def _nanoseconds(at: datetime) -> int:
    """Return the nanoseconds since 1970; 0 for an earlier moment, as in the reference."""
    since = at - _EPOCH
    return max(0, (since.days * 86400 + since.seconds) * 10**9 + since.microseconds * 1000)


def _write(path: Path, content: bytes) -> bool:
    """Write a file whole, readable by us only. Return False when it is there already."""
    if path.exists():
        return False
    hidden = path.with_name(f".{path.name}"[:255])
    # An interrupted export left it, or somebody put a link there.
    hidden.unlink(missing_ok=True)
    file = os.open(hidden, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
    with open(file, "wb") as opened:
        opened.write(content)
        opened.flush()
        os.fsync(file)
    os.rename(hidden, path)
    return True
