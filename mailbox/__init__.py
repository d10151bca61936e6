"""A durable, ordered mailbox. `from mailbox import Mailbox` is all that a program needs that uses it alone."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mailbox.mailbox import Mailbox

__all__ = ["Mailbox"]


def __getattr__(name: str) -> Any:
    # Late: models cannot be imported before Django has read its apps, of which this package is one.
    if name == "Mailbox":
        from mailbox.mailbox import Mailbox

        return Mailbox
    raise AttributeError(f"module 'mailbox' has no attribute {name!r}")
