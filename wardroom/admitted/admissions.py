"""The messages that a child has admitted: its history decides, a bounded set is a cache, a file outlives the child."""

import os
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from wardroom.admitted.ids import AdmittedSet
from wardroom.protocol import Message

if TYPE_CHECKING:
    from wardroom.admitted.file import AdmittedFile


def folder_from_env() -> str | None:
    """Return the folder that WARDROOM_CHILD_FOLDER names, if any."""
    return os.environ.get("WARDROOM_CHILD_FOLDER") or None


class Admissions:
    """The admitted ids of one child.

    The ids of the history are never forgotten, so a message that more than 4,096 others followed is not admitted twice.
    """

    def __init__(self, cache: AdmittedSet, file: "AdmittedFile | None" = None) -> None:
        self.cache = cache
        self._file = file
        self._history: set[str] = set()
        # Kept with a file alone: ids that Wardroom may not have heard of, each with the last event before it.
        self._unconfirmed: dict[str, int] = {}

    @classmethod
    def kept_in(cls, folder: Path | str | None, session: str, cache: AdmittedSet) -> Self:
        """Return the admissions of a session. A folder keeps them across restarts."""
        if folder is None:
            return cls(cache)
        from wardroom.admitted.file import AdmittedFile  # It needs file locks, which not every system has.

        return cls(cache, AdmittedFile(folder, session, cache.limit))

    def __contains__(self, id: object) -> bool:
        return id in self._history or id in self.cache

    def read_history(self, history: list[dict[str, Any]]) -> None:
        """Take in the history of a run. Append the messages that an earlier process admitted before it was killed, and
        of which Wardroom has not heard.
        """
        known = [entry["id"] for entry in history if isinstance(entry.get("id"), str)]
        self.note(known)
        if self._file is None:
            return
        stored = self._file.load()
        in_history = self._history.copy()
        self.note([*stored.admitted, *(entry["id"] for entry in stored.unconfirmed)])
        for entry in stored.unconfirmed:
            if entry["id"] in in_history:
                self._file.confirm([entry["id"]])
            else:
                history.append(entry)
                self._unconfirmed[entry["id"]] = 0

    def note(self, ids: Iterable[str]) -> None:
        """Add ids that are in the history."""
        for id in ids:
            self._history.add(id)
            self.cache.add(id)

    def admit(self, messages: Iterable[Message], last_event: int) -> list[Message]:
        """Admit messages at a safe point. Return those that no process has admitted before.

        `last_event` is the number of the child's latest event.
        """
        fresh = [message for message in messages if message.id not in self]
        if fresh and self._file is not None:
            self._unconfirmed |= {message.id: last_event for message in fresh}
            admitted = self._file.record(fresh)
        else:
            admitted = fresh
        self.note(message.id for message in fresh)
        return admitted

    @property
    def unconfirmed(self) -> list[str]:
        """The ids to report on a new connection, before everything else."""
        return list(self._unconfirmed)

    def confirm(self, seq: int) -> None:
        """Note that Wardroom has handled the event `seq`, and so the admissions that were reported before it."""
        done = [id for id, last_event in self._unconfirmed.items() if last_event < seq]
        if done and self._file is not None:
            self._file.confirm(done)
        for id in done:
            del self._unconfirmed[id]
