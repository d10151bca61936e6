"""Read the mailbox of the reference system: a folder of `new/`, `cur/` and `corrupt/`, with one JSON file per message.

A file's name is `<20-digit nanoseconds>-<id>.json`, so the order of names is the order of sending. Nothing in the
folder is changed. A second import brings nothing twice: messages are known by their ids, broken files by their names.

One file never stops the others. A file is left out and reported if it cannot be read, is not a regular file, or is
larger than quarantine's limit. At most one byte more than that limit is read of any file.
"""

from __future__ import annotations

import errno
import hashlib
import logging
import os
import re
import stat
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from uuid import UUID

from django.db import InterfaceError, OperationalError

from core.limits import LIMITS
from core.web.problems import Problem
from ledger import unit_of_work
from mailbox import addresses, bamboo, delivery, envelope, quarantine
from mailbox.envelope import NewMessage
from wardroom import strict

BATCH = 200
BATCH_BYTES = 8 * 1024 * 1024  # a batch takes one file beyond it at most
LONGEST_REFERENCE = 300
log = logging.getLogger(__name__)
_NAME = re.compile(r"\d{20}-(.+)\.json", re.DOTALL)
_NO_FILES = {
    stat.S_IFLNK: "a link",
    stat.S_IFDIR: "a folder",
    stat.S_IFIFO: "a pipe",
    stat.S_IFSOCK: "a socket",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
}


@dataclass(frozen=True, slots=True)
class LeftOut:
    """A file that was not imported: its part and name, and the reason."""

    name: str
    reason: str


@dataclass(slots=True)
class Tally:
    """The result of an import."""

    delivered: int = 0
    duplicates: int = 0
    quarantined: int = 0
    left_out: list[LeftOut] = field(default_factory=list)

    def leave_out(self, path: Path, reason: str) -> None:
        """Record that this file or folder was not imported."""
        self.left_out.append(LeftOut(name_of(path), reason))


class _Unread(Exception):
    """The reason why a file was not read."""


_File = tuple[Path, bytes]


def import_folder(
    project_id: UUID, address: str, folder: Path, *, progress: Callable[[int, int], object] = lambda done, of: None
) -> Tally:
    """Deliver everything in the folder, one transaction per batch. 422 or 404 if the address is wrong.

    The oldest file comes first: claimed and new ones together, because both are unread. Corrupt ones follow. Hidden
    files are skipped: a crashed sender left them behind, and never reported them as sent.
    """
    addresses.check_deliverable(project_id, addresses.check(address))
    tally = Tally()
    unread = [path for part in ("cur", "new") for path in _inside(folder / part, tally)]
    corrupt = _inside(folder / "corrupt", tally)
    found, done = [*sorted(unread, key=lambda path: path.name), *sorted(corrupt)], 0
    for batch in _batches(found, tally):
        _import_batch(project_id, address, batch, tally)
        done += len(batch)
        progress(min(done, len(found) - 1), len(found))
    progress(len(found), len(found))
    return tally


def name_of(path: Path) -> str:
    """Return a file's part and name as a text. One name gives one text, also if the name is not UTF-8."""
    return (
        f"{path.parent.name}/{path.name}".replace("\\", "\\\\")
        .encode(errors="surrogateescape")
        .decode(errors="backslashreplace")
    )


def _inside(folder: Path, tally: Tally) -> list[Path]:
    try:
        return [path for path in folder.iterdir() if not path.name.startswith(".")]
    except FileNotFoundError:
        return []
    except OSError as error:
        tally.leave_out(folder, _reason_of(error))
        return []


def _batches(paths: Sequence[Path], tally: Tally) -> Iterator[list[_File]]:
    """Yield the readable files in batches that are bounded in number and bytes."""
    batch: list[_File] = []
    size = 0
    for path in paths:
        try:
            raw = _content(path)
        except _Unread as why:
            tally.leave_out(path, str(why))
            continue
        batch.append((path, raw))
        size += len(raw)
        if len(batch) == BATCH or size >= BATCH_BYTES:
            yield batch
            batch, size = [], 0
    if batch:
        yield batch


def _content(path: Path) -> bytes:
    """Return the bytes of a regular file. Links are refused: a writer of the folder could show files here that only we
    may read.
    """
    most = quarantine.most_bytes()
    try:
        folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
        try:
            # Checked before it is opened, because opening a device may already have an effect.
            _must_be_file(os.stat(path.name, dir_fd=folder, follow_symlinks=False))
            file = os.open(path.name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK, dir_fd=folder)
        finally:
            os.close(folder)
        with open(file, "rb") as opened:
            status = os.fstat(file)
            _must_be_file(status)
            raw = opened.read(most + 1)
    except OSError as error:
        raise _Unread(_reason_of(error)) from error
    if len(raw) > most:
        raise _Unread(f"{max(status.st_size, len(raw)):,} bytes: over {most:,}")
    return raw


def _must_be_file(status: os.stat_result) -> None:
    if not stat.S_ISREG(status.st_mode):
        raise _Unread(f"{_NO_FILES.get(stat.S_IFMT(status.st_mode), 'something')}, not a file")


def _reason_of(error: OSError) -> str:
    if error.errno in (errno.ELOOP, errno.ENOTDIR):
        return "behind a link, or not in a folder"
    return (error.strerror or str(error)).lower()


def _import_batch(project_id: UUID, address: str, batch: Sequence[_File], tally: Tally) -> None:
    """Deliver or quarantine each file in one transaction. A batch that fails is retried in halves."""
    try:
        count = _store(project_id, address, batch)
    except (OperationalError, InterfaceError):
        raise
    except Exception as error:
        if len(batch) == 1:
            log.exception("neither a mailbox nor quarantine took a file")
            tally.leave_out(batch[0][0], f"{type(error).__name__}: {' '.join(str(error).split())[:200]}")
            return
        half = len(batch) // 2
        _import_batch(project_id, address, batch[:half], tally)
        _import_batch(project_id, address, batch[half:], tally)
        return
    tally.delivered += count.delivered
    tally.duplicates += count.duplicates
    tally.quarantined += count.quarantined


def _store(project_id: UUID, address: str, batch: Sequence[_File]) -> Tally:
    tally, read = Tally(), [_read(path, raw) for path, raw in batch]
    with unit_of_work.transaction():
        outcomes = delivery.deliver_each(project_id, address, read)
        for (path, raw), outcome in zip(batch, outcomes, strict=True):
            if isinstance(outcome, Problem):
                name, reference = _NAME.fullmatch(path.name), f"{address}/{name_of(path)}"
                if len(reference) > LONGEST_REFERENCE:
                    # A broken file is recognized by this: a name that is too long ends in a hash of the whole.
                    known = hashlib.sha256(reference.encode()).hexdigest()
                    reference = f"{reference[: LONGEST_REFERENCE - len(known) - 1]}#{known}"
                quarantine.put(
                    project_id,
                    raw,
                    bamboo.SOURCE,
                    quarantine.reason_of(outcome),
                    position=outcome.extra.get("position"),
                    address=address,
                    message_id=name[1] if name else "",
                    source_ref=reference,
                )
                tally.quarantined += 1
            elif outcome.duplicate:
                tally.duplicates += 1
            else:
                tally.delivered += 1
    return tally


def _read(path: Path, raw: bytes) -> NewMessage | Problem:
    if path.parent.name == "corrupt":
        return Problem("invalid", 422, "It was among the corrupt ones.")
    try:
        value = strict.loads(
            raw, max_bytes=envelope.most_bytes(), max_depth=LIMITS.max_depth + 1, max_keys=LIMITS.max_keys
        )
        return envelope.read(bamboo.to_envelope(value))
    except strict.StrictJSONError as error:
        return Problem("invalid", 422, error.reason, position=error.position)
    except Problem as refusal:
        return refusal
