"""Reading the mailbox of the reference system: a folder of `new/`, `cur/` and `corrupt/`, one JSON file a message.

A file's name is `<20-digit nanoseconds>-<id>.json`, so that the order of names is the order of sending. Nothing in the
folder is changed. Read again, it brings nothing twice: messages are known by their ids, broken files by their names.
"""

from __future__ import annotations

import errno
import os
import re
import stat
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from uuid import UUID

from django.conf import settings

from accounts.problems import Problem
from ledger import journal
from mailbox import addresses, bamboo, delivery, letters, quarantine
from mailbox.letters import NewMessage
from wardroom import strict

BATCH = 200
_NAME = re.compile(r"\d{20}-(.+)\.json", re.DOTALL)


@dataclass(slots=True)
class Tally:
    """What an import did."""

    delivered: int = 0
    duplicates: int = 0
    quarantined: int = 0
    #: Links, pipes, and files that went away meanwhile: not read.
    skipped: int = 0


def files(folder: Path) -> list[Path]:
    """What is to be read, oldest first: claimed and new ones together, for both are unread. Then what was corrupt.

    Hidden files are what a sender that crashed left behind; it never told anybody that they were sent.
    """
    unread = [path for part in ("cur", "new") for path in _inside(folder / part)]
    return [*sorted(unread, key=lambda path: path.name), *sorted(_inside(folder / "corrupt"))]


def bring(
    project_id: UUID, address: str, folder: Path, *, progress: Callable[[int, int], object] = lambda done, of: None
) -> Tally:
    """Deliver everything in the folder, in order, a batch per transaction. 422 or 404 when the address is wrong."""
    addresses.must_take(project_id, addresses.check(address))
    tally, found = Tally(), files(folder)
    for start in range(0, len(found), BATCH):
        progress(start, len(found))
        _bring(project_id, address, found[start : start + BATCH], tally)
    progress(len(found), len(found))
    return tally


def _inside(folder: Path) -> list[Path]:
    if not folder.is_dir():
        return []
    return [
        path for path in folder.iterdir() if not path.name.startswith(".") and (path.is_symlink() or not path.is_dir())
    ]


def _content(path: Path) -> bytes | None:
    """What a file holds, if it is one. A link would show whoever may write here what only we may read."""
    try:
        folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
        try:
            file = os.open(path.name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK, dir_fd=folder)
        finally:
            os.close(folder)
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        if error.errno in (errno.ELOOP, errno.ENXIO):
            return None
        raise
    with open(file, "rb") as opened:
        return opened.read() if stat.S_ISREG(os.fstat(file).st_mode) else None


def _bring(project_id: UUID, address: str, batch: Sequence[Path], tally: Tally) -> None:
    there = [(path, raw) for path in batch if (raw := _content(path)) is not None]
    tally.skipped += len(batch) - len(there)
    read = [_read(path, raw) for path, raw in there]
    with journal.transaction():
        outcomes = delivery.deliver_each(project_id, address, read)
        for (path, raw), outcome in zip(there, outcomes, strict=True):
            if isinstance(outcome, Problem):
                _quarantine(project_id, address, path, raw, outcome)
                tally.quarantined += 1
            elif outcome.duplicate:
                tally.duplicates += 1
            else:
                tally.delivered += 1


def _read(path: Path, raw: bytes) -> NewMessage | Problem:
    if path.parent.name == "corrupt":
        return Problem("invalid", 422, "It was among the corrupt ones.")
    limits = settings.WARDROOM
    try:
        value = strict.loads(
            raw, max_bytes=letters.most_bytes(), max_depth=limits["max_depth"] + 1, max_keys=limits["max_keys"]
        )
        return letters.read(bamboo.ours(value))
    except strict.StrictJSONError as error:
        return Problem("invalid", 422, error.reason, position=error.position)
    except Problem as refusal:
        return refusal


def _quarantine(project_id: UUID, address: str, path: Path, raw: bytes, refusal: Problem) -> None:
    named = _NAME.fullmatch(path.name)
    quarantine.put(
        project_id,
        raw,
        bamboo.SOURCE,
        quarantine.reason_of(refusal),
        position=refusal.extra.get("position"),
        address=address,
        message_id=named[1] if named else "",
        source_ref=f"{address}/{path.parent.name}/{path.name}"[-300:],
    )
