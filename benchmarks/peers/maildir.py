"""The reference's mailbox, in Python: a file for each message, renamed to claim it and removed to acknowledge it."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

KINDS = {"task", "ask", "handoff", "reply", "mcp_request", "mcp_reply"}


@dataclass(frozen=True, slots=True)
class InboxMessage:
    """What a drain gives, each field checked as the reference's own type is."""

    id: str
    sender: UUID
    role: str | None
    kind: str
    body: Any
    created_at: datetime
    correlation_id: str | None


class Maildir:
    """`new/`, `cur/`, `corrupt/`; files named `<20-digit nanoseconds>-<id>.json`.

    `durable`: also sync what the reference leaves to the file system, the folders after each rename and removal.
    """

    def __init__(self, folder: Path, *, durable: bool = False) -> None:
        self.new, self.cur, self.corrupt = (folder / name for name in ("new", "cur", "corrupt"))
        self.durable = durable
        for each in (self.new, self.cur, self.corrupt):
            each.mkdir(parents=True, exist_ok=True)

    def deliver(self, kind: str, body: Any) -> str:
        """Written under a hidden name, synced, renamed."""
        message_id, now = str(uuid4()), datetime.now(UTC)
        message = {
            "id": message_id,
            "from": {"session_id": str(uuid4()), "role": None},
            "kind": kind,
            "body": body,
            "created_at": now.isoformat(),
        }
        name = f"{max(int(now.timestamp() * 1_000_000) * 1000, 0):020}-{message_id}.json"
        hidden = self.new / f".{name}"
        with hidden.open("w") as file:
            json.dump(message, file)
            file.flush()
            if self.durable:
                os.fsync(file.fileno())
        hidden.rename(self.new / name)
        self._sync(self.new)
        return message_id

    def drain(self) -> list[tuple[Path, InboxMessage]]:
        """Claim everything that waits, oldest first: rename each, then read it; what cannot be read is put aside."""
        claimed = []
        for name in sorted(name for name in os.listdir(self.new) if name[0] != "."):
            path = self.cur / name
            try:
                os.rename(self.new / name, path)
            except FileNotFoundError:
                continue  # Another took it.
            try:
                claimed.append((path, _parsed(path.read_bytes())))
            except (ValueError, KeyError, TypeError):
                os.rename(path, self.corrupt / name)
        self._sync(self.new)
        self._sync(self.cur)
        return claimed

    def ack_delivered(self, path: Path) -> None:
        """Done. Said again it is true again."""
        path.unlink(missing_ok=True)

    def ack_all(self, paths: list[Path]) -> None:
        """`ack_delivered` for each; one sync for all of them, where there is one."""
        for path in paths:
            self.ack_delivered(path)
        self._sync(self.cur)

    def _sync(self, folder: Path) -> None:
        if not self.durable:
            return
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


def _parsed(raw: bytes) -> InboxMessage:
    found = json.loads(raw)
    if found["kind"] not in KINDS:
        raise ValueError(found["kind"])
    return InboxMessage(
        id=found["id"],
        sender=UUID(found["from"]["session_id"]),
        role=found["from"].get("role"),
        kind=found["kind"],
        body=found["body"],
        created_at=datetime.fromisoformat(found["created_at"]),
        correlation_id=found.get("correlation_id"),
    )
