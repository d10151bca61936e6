"""A durable, ordered mailbox. A program that uses this app alone needs only `from mailbox import Mailbox`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mailbox.mailbox import Mailbox

__all__ = ["Mailbox"]


def __getattr__(name: str) -> Any:
    # Imported late: models cannot be imported before Django has loaded its apps, and this package is one of them.
    if name == "Mailbox":
        from mailbox.mailbox import Mailbox

        return Mailbox
    raise AttributeError(f"module 'mailbox' has no attribute {name!r}")
