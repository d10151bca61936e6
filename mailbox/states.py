"""The states of a message and of a quarantined one, their arrows, and the kinds: guards, CHECKs and docs derive."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from django.db import models


class MessageState(models.TextChoices):
    """Where a message is. At a session's address only `new` and `admitted` occur."""

    NEW = "new", "new"
    CLAIMED = "claimed", "claimed"
    ADMITTED = "admitted", "admitted"
    QUARANTINED = "quarantined", "quarantined"


#: Where a message can still be taken.
WAITING_STATES = frozenset({MessageState.NEW, MessageState.CLAIMED})


class QuarantineState(models.TextChoices):
    """What became of something that could not be read."""

    WAITING = "waiting", "waiting"
    REQUEUED = "requeued", "requeued"
    DISCARDED = "discarded", "discarded"


#: Where something that could not be read came from. `mailbox`: it had been accepted, and failed afterwards.
QUARANTINE_SOURCES = ("amqp", "mailbox", "maildir")

#: From -> the states it may enter. claimed -> claimed: a lapsed claim, or a recovering
#: consumer's own, is replaced by a new one in one step.
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
    """The states that may enter `to`, sorted."""
    return sorted(state.value for state, targets in arrows.items() if to in targets)


#: What anybody may send. The words are those of the reference mailbox.
PUBLIC_KINDS = frozenset({"task", "ask", "handoff", "reply", "mcp_request", "mcp_reply"})
#: What only verbs send.
INTERNAL_KINDS = frozenset({"completion"})
KINDS = PUBLIC_KINDS | INTERNAL_KINDS

ASK_MODES = ("query", "steer")
