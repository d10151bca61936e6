"""The states, decisions and transitions of an approval. Guards, CHECK constraints and docs derive from here."""

from django.db import models


class Status(models.TextChoices):
    """The states of an approval. Only `pending` can still change; the other four are final."""

    PENDING = "pending"
    APPROVED = "approved"
    DENIED = "denied"
    EXPIRED = "expired"
    CANCELLED = "cancelled"


class Decision(models.TextChoices):
    """The answers of a person or a rule. `edit` approves other arguments; `respond` answers a question."""

    APPROVE = "approve"
    DENY = "deny"
    EDIT = "edit"
    RESPOND = "respond"


class Risk(models.TextChoices):
    """The possible harm, as the asker states it, in rising order."""

    LOW = "low"
    MEDIUM = "medium"
    HIGH = "high"
    CRITICAL = "critical"


class Reversibility(models.TextChoices):
    """The ways to undo the effect, as the asker states them, from the mildest to the gravest."""

    READ_ONLY = "read_only"
    REVERSIBLE = "reversible"
    EXTERNALLY_REVERSIBLE = "externally_reversible"
    IRREVERSIBLE = "irreversible"


class RequestVia(models.TextChoices):
    """The channel of the ask, and so of its answer. Only an ask over the connection stops the clocks."""

    CONNECTION = "connection"
    REST = "rest"


class Via(models.TextChoices):
    """The place where an answer was given."""

    ADMIN = "admin"
    REST = "rest"
    RULE = "rule"


class RuleOutcome(models.TextChoices):
    """The outcomes of a rule, from the most restrictive to the least: the most restrictive of those that match wins."""

    DENY = "deny"
    REVIEW = "review"
    ASK = "ask"
    ALLOW = "allow"


class OnExpiry(models.TextChoices):
    """The effect of a rule's deadline: the request expires, or it stays pending and is escalated."""

    EXPIRE = "expire"
    PENDING = "pending"


class Fallback(models.TextChoices):
    """What a caller does when nobody answers in time. It decides nothing."""

    DENY_LOCALLY = "deny_locally"
    PROCEED = "proceed"


class StepKind(models.TextChoices):
    """The steps of a request while it is pending. None of these answers it."""

    CLAIMED = "claimed"
    RELEASED = "released"
    DELEGATED = "delegated"
    SNOOZED = "snoozed"
    EXTENDED = "extended"
    ESCALATED = "escalated"
    ASKED_BACK = "asked_back"
    ANSWERED = "answered"
    VOTED = "voted"
    REMINDED = "reminded"
    REVIEWED = "reviewed"
    REPEAT_SETTLED = "repeat_settled"


class ReviewerKind(models.TextChoices):
    """The ways to a reviewer: an HTTP call, or the entry point of an installed package."""

    WEBHOOK = "webhook"
    PROGRAM = "program"


class ReviewState(models.TextChoices):
    """The state of one review. `ask` leaves the request to people, and so does `failed`: there was no clear verdict.

    `dropped`: the request had ended before the reviewer was called.
    """

    WAITING = "waiting"
    ALLOW = "allow"
    DENY = "deny"
    ASK = "ask"
    FAILED = "failed"
    DROPPED = "dropped"


class NoticeKind(models.TextChoices):
    """The things that people are told about a request."""

    REQUESTED = "requested"
    DELEGATED = "delegated"
    REMINDED = "reminded"
    ESCALATED = "escalated"
    ANSWERED = "answered"
    SETTLED = "settled"


class GrantScope(models.TextChoices):
    """The sessions whose requests a grant answers: one, one and its descendants, or all of a role in the project."""

    SESSION = "session"
    TREE = "tree"
    ROLE = "role"


class GrantEnd(models.TextChoices):
    """The reason for the end of a grant before it expires."""

    REVOKED = "revoked"
    USED_UP = "used_up"
    SESSION_ENDED = "session_ended"


class CancelReason(models.TextChoices):
    """The reason for a cancelled approval: the asker withdrew it, or its attempt ended."""

    WITHDRAWN = "withdrawn"
    ATTEMPT_ENDED = "attempt_ended"


class Outcome(models.TextChoices):
    """What is known about the run of a consumed action. Without a word, its executor may still be at work.

    `ran` and `failed` are reports of the executor, or `ran` and `did_not_run` the settlement of a person. `unreported`:
    the attempt completed in order and made no report of its own, so nothing crashed.
    """

    RAN = "ran"
    FAILED = "failed"
    UNKNOWN = "unknown"
    DID_NOT_RUN = "did_not_run"
    UNREPORTED = "unreported"


class OutcomeNoteKind(models.TextChoices):
    """The statements about an outcome: of the executor, of Wardroom when no report came, and of a person."""

    REPORTED = "reported"
    MISSED = "missed"
    SETTLED = "settled"


ARROWS: dict[Status, tuple[Status, ...]] = {
    Status.PENDING: (Status.APPROVED, Status.DENIED, Status.EXPIRED, Status.CANCELLED),
    Status.APPROVED: (),
    Status.DENIED: (),
    Status.EXPIRED: (),
    Status.CANCELLED: (),
}

TERMINAL = frozenset(status for status, onward in ARROWS.items() if not onward)

# The status that each decision leads to. There is no other way into `approved` or `denied`.
LEADS_TO: dict[Decision, Status] = {
    Decision.APPROVE: Status.APPROVED,
    Decision.DENY: Status.DENIED,
    Decision.EDIT: Status.APPROVED,
    Decision.RESPOND: Status.APPROVED,
}

DECIDED = frozenset(LEADS_TO.values())

# Nobody has answered, and nobody has ended the request.
UNANSWERED = frozenset({Status.PENDING, Status.EXPIRED})

# The decisions that let an action run. A response only answers a question, even if the request holds arguments.
RUNS = frozenset({Decision.APPROVE, Decision.EDIT})

# The outcomes that an executor reports, and those that a person settles an unknown one as.
REPORTS = (Outcome.RAN, Outcome.FAILED, Outcome.UNKNOWN)
SETTLEMENTS = (Outcome.RAN, Outcome.DID_NOT_RUN)

# An asker may raise the risk above this, never lower it.
BASE_RISK = Risk.MEDIUM

# What nobody has stated may be beyond repair.
UNSTATED_REVERSIBILITY = Reversibility.IRREVERSIBLE

ACTION_DECISIONS = (Decision.APPROVE, Decision.DENY, Decision.EDIT)


def sources(to: Status) -> list[str]:
    """Return the states with a transition into `to`, sorted. A guarded UPDATE filters on them."""
    return sorted(status.value for status, onward in ARROWS.items() if to in onward)


def is_within(stated: str, most: str, order: type[models.TextChoices]) -> bool:
    """Return True if a risk or a reversibility is at most as grave as another one."""
    ranks = list(order)
    return ranks.index(order(stated)) <= ranks.index(order(most))


def values(words: type[models.TextChoices]) -> list[str]:
    """Return the values, sorted, so that a constraint made from them is the same in every migration."""
    return sorted(words.values)


def deciding(status: Status) -> list[str]:
    """Return the decisions that lead into `status`, sorted."""
    return sorted(kind.value for kind, to in LEADS_TO.items() if to is status)


def raised_risk(asked: str | None) -> str:
    """Return the higher of the base risk and the asker's risk."""
    order = list(Risk)
    return max(BASE_RISK, Risk(asked or BASE_RISK), key=order.index).value


def raised_risk_to(risk: str, by_rule: str | None) -> str:
    """Return the higher of a request's risk and that of a rule: rules only ever raise it."""
    order = list(Risk)
    return max(Risk(risk), Risk(by_rule or risk), key=order.index).value


def raised_reversibility(stated: str, by_other: str | None) -> str:
    """Return the graver of what the asker states and what a rule or a person says: others only ever raise it."""
    order = list(Reversibility)
    return max(Reversibility(stated), Reversibility(by_other or stated), key=order.index).value
