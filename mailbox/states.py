"""The states of a message and of a quarantined one, their transitions, and the message kinds. Guards, CHECKs and docs
derive from these.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from django.db import models


class MessageState(models.TextChoices):
    """The state of a message. At a session's address only `new` and `admitted` occur."""

    NEW = "new", "new"
    CLAIMED = "claimed", "claimed"
    ADMITTED = "admitted", "admitted"
    QUARANTINED = "quarantined", "quarantined"


#: The states in which a message can still be taken.
WAITING_STATES = frozenset({MessageState.NEW, MessageState.CLAIMED})


class QuarantineState(models.TextChoices):
    """The state of a quarantined message."""

    WAITING = "waiting", "waiting"
    REQUEUED = "requeued", "requeued"
    DISCARDED = "discarded", "discarded"


#: The source of a quarantined message. `mailbox`: the message had been accepted, and failed afterwards.
QUARANTINE_SOURCES = ("amqp", "mailbox", "maildir")

#: Each state -> the states that may follow. claimed -> claimed: a new claim replaces an expired one, or the
#: recovering consumer's own, in one step.
MESSAGE_ARROWS: Mapping[MessageState, frozenset[MessageState]] = {
    MessageState.NEW: frozenset({MessageState.CLAIMED, MessageState.ADMITTED}),
    MessageState.CLAIMED: frozenset(
        {MessageState.CLAIMED, MessageState.NEW, MessageState.ADMITTED, MessageState.QUARANTINED}
    ),
    MessageState.ADMITTED: frozenset(),
    MessageState.QUARANTINED: frozenset({MessageState.NEW}),
}

QUARANTINE_ARROWS: Mapping[QuarantineState, frozenset[QuarantineState]] = {
    QuarantineState.WAITING: frozenset({QuarantineState.REQUEUED, QuarantineState.DISCARDED}),
    QuarantineState.REQUEUED: frozenset(),
    QuarantineState.DISCARDED: frozenset(),
}


def sources(arrows: Mapping[Any, frozenset[Any]], to: str) -> list[str]:
    """Return the states that may enter `to`, sorted."""
    return sorted(state.value for state, targets in arrows.items() if to in targets)


#: The kinds that any sender may use. The names are those of the reference mailbox.
PUBLIC_KINDS = frozenset({"task", "ask", "handoff", "reply", "mcp_request", "mcp_reply"})
#: The kinds that only Wardroom's own operations send.
INTERNAL_KINDS = frozenset({"completion"})
KINDS = PUBLIC_KINDS | INTERNAL_KINDS

ASK_MODES = ("query", "steer")
