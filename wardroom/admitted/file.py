"""A file that keeps the admitted messages of a session across restarts of its child. For POSIX systems."""

import contextlib
import fcntl
import logging
import os
import stat
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, Literal
from urllib.parse import quote

import msgspec

from wardroom.admitted.ids import AdmittedSet
from wardroom.protocol import Message
from wardroom.queries import is_query

log = logging.getLogger("wardroom.admitted")

#: A larger file is not one of ours.
MOST_BYTES = 64 * 1024 * 1024
#: The content of the unconfirmed messages: at least the last eight of the largest.
MOST_UNCONFIRMED_BYTES = 2 * 1024 * 1024
LOCK_SECS = 2.0
LOCK_PAUSE_SECS = 0.01

Entry = dict[str, Any]


class NotOurs(ValueError):
    """The file is broken, or belongs to something else."""


class Stored(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """The content of the file: the last ids, and the admitted messages that Wardroom has not confirmed."""

    format: Literal[1] = 1
    session: str
    admitted: list[str] = []
    unconfirmed: list[Entry] = []

    @property
    def known(self) -> set[str]:
        """Every id in the file. An unconfirmed one is never evicted."""
        return {*self.admitted, *(entry["id"] for entry in self.unconfirmed)}


class AdmittedFile:
    """The file of one session. A trouble with it is logged, and the child goes on without it.

    Each write replaces the whole file: a process that is killed leaves the former content or the new one. A lock makes
    reading and writing one step, so that of two processes of a session only one admits a message.
    """

    def __init__(self, folder: Path | str, session: str, limit: int) -> None:
        name = f"admitted-{quote(session, safe='')}"
        self.folder = Path(folder)
        self.path = self.folder / f"{name}.json"
        self._temporary = self.folder / f"{name}.tmp"
        self._lock = self.folder / f"{name}.lock"
        self._session = session
        self._limit = limit
        # Not yet in the file: admitted messages, and ids that Wardroom has confirmed.
        self._unwritten: dict[str, Entry] = {}
        self._confirmed: set[str] = set()
        self._has_trouble = False

    def load(self) -> Stored:
        """Return the content of the file. Set aside a file that is not ours."""
        try:
            self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            return self._read()  # Without the lock: a folder that takes no lock may still hold the file.
        except NotOurs:
            pass
        except OSError as error:
            self._warn(error)
        try:
            with self._locked():
                return self._read_or_set_aside()
        except OSError as error:
            self._warn(error)
            return Stored(session=self._session)

    def record(self, messages: list[Message]) -> list[Message]:
        """Write these messages as admitted. Return those that no other process has admitted.

        When the file cannot be written, all are returned, and written with the next ones. Questions are not written:
        they are no part of the history, and a second answer to one is refused.
        """
        fresh = messages
        own = {message.id: entry(message) for message in messages if not is_query(message.message_kind, message.body)}
        try:
            with self._locked():
                stored = self._read_or_set_aside()
                known = stored.known
                fresh = [message for message in messages if message.id not in known]
                self._unwritten |= {message.id: own[message.id] for message in fresh if message.id in own}
                self._write(self._merged(stored))
        except OSError as error:
            self._unwritten |= {message.id: own[message.id] for message in fresh if message.id in own}
            self._warn(error)
        else:
            self._unwritten.clear()
            self._confirmed.clear()
            self._has_trouble = False
        return fresh

    def confirm(self, ids: Iterable[str]) -> None:
        """Note that Wardroom's history has these messages. The next write drops them from the unconfirmed ones."""
        self._confirmed.update(ids)

    def _merged(self, stored: Stored) -> Stored:
        entries = {item["id"]: item for item in stored.unconfirmed}
        entries |= self._unwritten
        unconfirmed = [item for id, item in entries.items() if id not in self._confirmed]
        # Without events nothing is ever confirmed. Then a restarted child may miss the oldest of its messages, which
        # Wardroom's history gets as soon as it is connected.
        sizes = [len(msgspec.json.encode(item)) for item in unconfirmed]
        while sum(sizes) > MOST_UNCONFIRMED_BYTES:
            del unconfirmed[0], sizes[0]
        admitted = AdmittedSet([*stored.admitted, *self._unwritten], self._limit)
        return Stored(session=self._session, admitted=list(admitted), unconfirmed=unconfirmed)

    def _read(self) -> Stored:
        """Return the content, empty when there is no file. Raises NotOurs, or OSError."""
        try:
            descriptor = os.open(self.path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
        except FileNotFoundError:
            return Stored(session=self._session)
        with open(descriptor, "rb") as file:
            found = os.fstat(descriptor)
            if not stat.S_ISREG(found.st_mode) or found.st_size > MOST_BYTES:
                raise NotOurs("not a regular file of at most 64 MiB")
            text = file.read()
        try:
            stored = msgspec.json.decode(text, type=Stored)
        except (msgspec.DecodeError, RecursionError) as error:
            raise NotOurs(str(error)) from None
        if stored.session != self._session:
            raise NotOurs("it belongs to another session")
        if not all(isinstance(item.get("id"), str) for item in stored.unconfirmed):
            raise NotOurs("an unconfirmed message has no id")
        return stored

    def _read_or_set_aside(self) -> Stored:
        """Return the content. A file that is not ours gets another name, and the content is empty then."""
        try:
            return self._read()
        except NotOurs as error:
            aside = self.path.with_suffix(f".broken-{time.time_ns()}")
            os.rename(self.path, aside)
            log.error("%s is not a file of this session (%s). It is now %s.", self.path, error, aside.name)
            return Stored(session=self._session)

    def _write(self, stored: Stored) -> None:
        # Only the holder of the lock writes, so the name of the temporary file is free, or a killed process left it.
        flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC | os.O_NOFOLLOW
        with open(os.open(self._temporary, flags, 0o600), "wb") as file:
            os.fchmod(file.fileno(), 0o600)
            file.write(msgspec.json.encode(stored))
            file.flush()
            os.fsync(file.fileno())
        os.replace(self._temporary, self.path)
        folder = os.open(self.folder, os.O_RDONLY | os.O_CLOEXEC | os.O_DIRECTORY)
        try:
            os.fsync(folder)  # Without this the new name may not survive a crash of the machine.
        finally:
            os.close(folder)

    @contextlib.contextmanager
    def _locked(self) -> Iterator[None]:
        """Hold the lock of the file. Raises OSError when another process holds it for too long."""
        descriptor = os.open(self._lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        try:
            until = time.monotonic() + LOCK_SECS
            while True:
                try:
                    fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    break
                except BlockingIOError:
                    if time.monotonic() > until:  # A stopped process must not stop this one's connection.
                        raise
                time.sleep(LOCK_PAUSE_SECS)
            yield
        finally:
            os.close(descriptor)

    def _warn(self, error: OSError) -> None:
        """Log the trouble, once until the file can be written again."""
        if not self._has_trouble:
            self._has_trouble = True
            log.warning(
                "%s cannot be used (%s). The child goes on; after a restart it may get a message again.",
                self.path,
                error,
            )


def entry(message: Message) -> Entry:
    """Return the message as Wardroom's history shows it."""
    return {
        "role": "user",
        "content": message.text,
        "id": message.id,
        "message_kind": message.message_kind,
        "correlation_id": message.correlation_id,
    }
