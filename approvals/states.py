"""Every word of an approval's life, and every arrow. Guards, CHECK constraints and docs derive from here."""

from django.db import models


class Status(models.TextChoices):
    """Where an approval is. Only `pending` can still move; the other four are ends."""

    PENDING = "pending"
    APPROVED = "approved"
    DENIED = "denied"
    EXPIRED = "expired"
    CANCELLED = "cancelled"


class Decision(models.TextChoices):
    """What a person (or a rule) may answer. `edit` approves other arguments; `respond` answers a question."""

    APPROVE = "approve"
    DENY = "deny"
    EDIT = "edit"
    RESPOND = "respond"


class Risk(models.TextChoices):
    """How much harm the asker says it may do, in rising order."""

    LOW = "low"
    MEDIUM = "medium"
    HIGH = "high"
    CRITICAL = "critical"


class Over(models.TextChoices):
    """Which way the ask came, and so which way its answer goes. Only an ask over the line stops the clocks."""

    LINE = "line"
    REST = "rest"


class Via(models.TextChoices):
    """Where an answer was given."""

    ADMIN = "admin"
    REST = "rest"
    RULE = "rule"


class CancelReason(models.TextChoices):
    """Why an approval was cancelled: nobody needs it, or nobody is left who could."""

    WITHDRAWN = "withdrawn"
    ATTEMPT_ENDED = "attempt_ended"


ARROWS: dict[Status, tuple[Status, ...]] = {
    Status.PENDING: (Status.APPROVED, Status.DENIED, Status.EXPIRED, Status.CANCELLED),
    Status.APPROVED: (),
    Status.DENIED: (),
    Status.EXPIRED: (),
    Status.CANCELLED: (),
}

TERMINAL = frozenset(status for status, onward in ARROWS.items() if not onward)

# Where each answer leads: there is no other way into `approved` or `denied`.
LEADS_TO: dict[Decision, Status] = {
    Decision.APPROVE: Status.APPROVED,
    Decision.DENY: Status.DENIED,
    Decision.EDIT: Status.APPROVED,
    Decision.RESPOND: Status.APPROVED,
}

DECIDED = frozenset(LEADS_TO.values())

# The answers that let an action run. A response answers a question, whatever else its asker put into the request.
RUNS = frozenset({Decision.APPROVE, Decision.EDIT})

# An asker may raise the risk above this, never lower it.
BASE_RISK = Risk.MEDIUM

ACTION_DECISIONS = (Decision.APPROVE, Decision.DENY, Decision.EDIT)


def sources(to: Status) -> list[str]:
    """The states that have an arrow into `to`, sorted: what a guarded UPDATE filters on."""
    return sorted(status.value for status, onward in ARROWS.items() if to in onward)


def values(words: type[models.TextChoices]) -> list[str]:
    """Sorted, so that a constraint made from them never flaps between two migrations."""
    return sorted(words.values)


def deciding(status: Status) -> list[str]:
    """The decisions that lead into `status`, sorted."""
    return sorted(kind.value for kind, to in LEADS_TO.items() if to is status)


def raised_risk(said: str | None) -> str:
    """The higher of the base risk and what the asker said."""
    order = list(Risk)
    return max(BASE_RISK, Risk(said or BASE_RISK), key=order.index).value
