"""Where acts of authority over people, projects and keys are written down, in the transaction that does them.

The audit chain is the ledger's, which stands above this app: as it starts, it says how to write there.
"""

from __future__ import annotations

from contextlib import AbstractContextManager
from typing import Any, Protocol
from uuid import UUID


class Recorder(Protocol):
    """What the ledger's journal offers."""

    def transaction(self) -> AbstractContextManager[None]:
        """Open one, or join the one that is open."""

    def audit(
        self, project_id: UUID, actor: object, action: str, subject: str, detail: dict[str, Any] | None = None
    ) -> None:
        """Append a row to the project's chain, in the open transaction."""


_recorder: Recorder | None = None


def record_with(recorder: Recorder) -> None:
    """From now on, write with this."""
    global _recorder
    _recorder = recorder


def transaction() -> AbstractContextManager[None]:
    """A transaction whose acts can be recorded."""
    return _known().transaction()


def audit(project_id: UUID, actor: object, action: str, subject: str, detail: dict[str, Any]) -> None:
    """Record one act. It raises rather than forget: what nobody writes down is not done."""
    _known().audit(project_id, actor, action, subject, detail)


def _known() -> Recorder:
    if _recorder is None:
        raise RuntimeError("Nothing records acts of authority: is the ledger among INSTALLED_APPS?")
    return _recorder
