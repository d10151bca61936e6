"""The hook that writes audit rows for people, projects and keys, in the transaction of the change.

The audit chain belongs to the ledger, which lies above this app. The ledger registers its writer here at startup.
"""

from __future__ import annotations

from contextlib import AbstractContextManager
from typing import Any, Protocol
from uuid import UUID


class Recorder(Protocol):
    """The interface of the ledger's unit of work."""

    def transaction(self) -> AbstractContextManager[None]:
        """Open a transaction, or join the open one."""

    def audit(
        self, project_id: UUID, actor: object, action: str, subject: str, detail: dict[str, Any] | None = None
    ) -> None:
        """Append a row to the project's chain, in the open transaction."""


_recorder: Recorder | None = None


def record_with(recorder: Recorder) -> None:
    """Register the writer."""
    global _recorder
    _recorder = recorder


def transaction() -> AbstractContextManager[None]:
    """Open a transaction that can write audit rows."""
    return _known().transaction()


def audit(project_id: UUID, actor: object, action: str, subject: str, detail: dict[str, Any]) -> None:
    """Write one audit row. Raises RuntimeError without a writer: a change without its record must fail."""
    _known().audit(project_id, actor, action, subject, detail)


def _known() -> Recorder:
    if _recorder is None:
        raise RuntimeError("No audit writer is registered: add the ledger to INSTALLED_APPS.")
    return _recorder
