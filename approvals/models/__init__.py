"""The rows of this app. No operations."""

from approvals.models.approval import Approval, ApprovalQuerySet
from approvals.models.grants import Grant
from approvals.models.life import Question, Snooze, Step, Waiter
from approvals.models.notify import Notice, NotifyPosition, NotifyPreference, Told
from approvals.models.outcome import OutcomeNote
from approvals.models.plans import Plan, PlanStep
from approvals.models.review import Review, Reviewer
from approvals.models.rules import Policy, PolicyVersion, Rule, ShadowAnswer, Vote
from approvals.models.schema import ToolSchema
from approvals.models.subject import Subject

__all__ = [
    "Approval",
    "ApprovalQuerySet",
    "Grant",
    "Notice",
    "NotifyPosition",
    "NotifyPreference",
    "OutcomeNote",
    "Plan",
    "PlanStep",
    "Policy",
    "PolicyVersion",
    "Question",
    "Review",
    "Reviewer",
    "Rule",
    "ShadowAnswer",
    "Snooze",
    "Step",
    "Subject",
    "Told",
    "ToolSchema",
    "Vote",
    "Waiter",
]
