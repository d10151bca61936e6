"""One request for approval."""

from __future__ import annotations

import json
import uuid
from typing import Any

from django.db import models
from django.db.models import Case, Q, Value, When
from django.db.models.fields.json import KT
from django.db.models.functions import Concat

from accounts.models import Project
from approvals import states
from approvals.models.constraints import CONSTRAINTS
from approvals.states import (
    CancelReason,
    Decision,
    Fallback,
    Outcome,
    RequestVia,
    Reversibility,
    Risk,
    Status,
    Via,
)
from core.db.fields import JSONText
from core.display.text import shortened

#: Approved and never run. The indexes have the same condition, so that they serve `unconsumed`.
UNCONSUMED = Q(status=Status.APPROVED, consumed_at__isnull=True, is_plan=False) & ~Q(decision_kind=Decision.RESPOND)


class ApprovalQuerySet(models.QuerySet["Approval"]):
    """Filters only. The operations change rows."""

    def of(self, session: uuid.UUID | None, attempt: int | None) -> ApprovalQuerySet:
        return self.filter(session=session, attempt=attempt)

    def pending(self) -> ApprovalQuerySet:
        return self.filter(status=Status.PENDING)

    def decided(self) -> ApprovalQuerySet:
        return self.filter(status__in=sorted(states.DECIDED))

    def unconsumed(self) -> ApprovalQuerySet:
        """Approved and never run. A response to a question runs nothing, nor does a plan, so they are left out."""
        return self.filter(UNCONSUMED)

    def in_time(self, now: Any) -> ApprovalQuerySet:
        return self.filter(Q(expires_at__isnull=True) | Q(expires_at__gt=now))

    def overdue(self, now: Any) -> ApprovalQuerySet:
        return self.pending().filter(expires_at__lte=now)


class Approval(models.Model):
    """One request to run one exact action, and its outcome."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    # Two indexes below begin with the project.
    project = models.ForeignKey(Project, on_delete=models.PROTECT, related_name="+", db_index=False)
    session = models.UUIDField(null=True)
    attempt = models.PositiveIntegerField(null=True)
    # The ids of the sessions from the root of the tree to the one that asks.
    path = JSONText(default=list)
    request_id = models.CharField(max_length=256)
    via = models.CharField(max_length=16, choices=RequestVia.choices)
    # A plan: its arguments are the manifest, and it never runs.
    is_plan = models.BooleanField(default=False)
    asked_digest = models.CharField(max_length=64)
    # Equal for asks of the same action by anybody. Empty in rows that are older than the column.
    likeness = models.CharField(max_length=64, default="")
    requested_by = models.JSONField()
    requested_at = models.DateTimeField()
    expires_at = models.DateTimeField(null=True)

    tool_name = models.CharField(max_length=256)
    tool_call_id = models.CharField(max_length=256, null=True)
    permission = models.CharField(max_length=256)
    resource = models.TextField()
    question = models.TextField(null=True)
    risk = models.CharField(max_length=16, choices=Risk.choices)
    reversibility = models.CharField(max_length=32, choices=Reversibility.choices)
    allowed_decisions = models.JSONField()
    has_tool_schema = models.BooleanField(default=False)
    # The form of a response, and the response that fits it.
    response_schema = JSONText(null=True)
    response = JSONText(null=True)

    # The canonical text (RFC 8785) of the action that may run. The same text is shown, hashed and sent.
    action = models.TextField()
    digest = models.CharField(max_length=64)
    proposed_action = models.TextField(null=True)
    proposed_digest = models.CharField(max_length=64, null=True)
    # The digest of the preconditions' names and values; empty without any. An UPDATE compares it when it consumes.
    facts_digest = models.CharField(max_length=64, default="")
    version = models.PositiveIntegerField(default=1)

    status = models.CharField(max_length=16, choices=Status.choices, default=Status.PENDING)
    settled_at = models.DateTimeField(null=True)
    decision_kind = models.CharField(max_length=16, choices=Decision.choices, null=True)
    decided_by = models.JSONField(null=True)
    decided_via = models.CharField(max_length=16, choices=Via.choices, null=True)
    message = models.TextField(null=True)
    note = models.TextField(null=True)
    cancel_reason = models.CharField(max_length=16, choices=CancelReason.choices, null=True)
    cancel_detail = models.TextField(null=True)
    rule = models.CharField(max_length=64, null=True)
    rule_version = models.PositiveIntegerField(null=True)
    # The grant that was born from this answer.
    remembered = models.UUIDField(null=True)
    # The version of the project's rules when it was asked, and then when it was consumed. Null: there were none.
    policy_version = models.BigIntegerField(null=True)

    # Copied from the rules that matched, when it was asked. Later changes of these rules do not change it.
    quorum = models.PositiveSmallIntegerField(default=1)
    vote_count = models.PositiveSmallIntegerField(default=0)
    four_eyes = models.BooleanField(default=False)
    terms = JSONText(null=True)
    # What reviewers say, in the order of their names: for display. Null without any. See `Review`.
    reviews = JSONText(null=True)
    # The reminders and escalations that are done, and the time of the next one.
    steps_done = models.PositiveSmallIntegerField(default=0)
    next_step_at = models.DateTimeField(null=True)
    # The reason of a person who answered although the rules did not let them.
    break_glass = models.TextField(null=True)

    # Who looks at it, whom it is for, and how often it was escalated. None of these decides who may answer.
    claimed_by = models.JSONField(null=True)
    claimed_until = models.DateTimeField(null=True)
    assigned_to = models.JSONField(null=True)
    # The same as a word, `user:7` or `group:3`, for an index. Empty: for everybody.
    assignee = models.GeneratedField(
        expression=Case(
            When(
                assigned_to__kind__isnull=False,
                then=Concat(
                    KT("assigned_to__kind"), Value(":"), KT("assigned_to__id"), output_field=models.CharField()
                ),
            ),
            default=Value(""),
            output_field=models.CharField(),
        ),
        output_field=models.CharField(max_length=64),
        db_persist=True,
    )
    escalated_at = models.DateTimeField(null=True)
    escalations = models.PositiveIntegerField(default=0)
    # Questions to the asker that have no answer yet.
    open_questions = models.PositiveIntegerField(default=0)

    delivered_at = models.DateTimeField(null=True)
    consumed_at = models.DateTimeField(null=True)
    consume_claim = models.CharField(max_length=256, null=True)
    # A consumption found other facts than those that were approved. The answer is kept, and never used.
    stale_at = models.DateTimeField(null=True)
    stale = models.JSONField(null=True)
    # What is known about the run. A person settles an unknown one; a late report is kept beside the settlement.
    outcome = models.CharField(max_length=16, choices=Outcome.choices, null=True)
    outcome_unknown_at = models.DateTimeField(null=True)
    outcome_reported_at = models.DateTimeField(null=True)
    outcome_settled_as = models.CharField(max_length=16, choices=Outcome.choices, null=True)
    # The digest of tool, permission, resource and arguments, for those whose outcome was ever unknown.
    repeat_digest = models.CharField(max_length=64, null=True)
    # Of this ask: an earlier one for the same action, which may have run.
    repeat_warning = models.JSONField(null=True)
    fallback = models.CharField(max_length=16, choices=Fallback.choices, null=True)
    fallback_at = models.DateTimeField(null=True)

    # Computed with the database's clock. Only rows from `selectors.with_waiters` have these, `with_claims` the second.
    is_overdue: bool
    is_claimed: bool
    held_calls: int
    is_blocked: int

    objects = ApprovalQuerySet.as_manager()

    class Meta:
        ordering = ["requested_at", "id"]
        # Read-only for everybody: there is nothing to add, change or delete by hand.
        default_permissions = ("view",)
        permissions = [
            ("ask", "Can ask for approvals"),
            ("decide", "Can answer approvals"),
            ("view_secrets", "Can see hidden values of approvals"),
            ("break_glass", "Can answer own requests in an emergency, with a reason"),
        ]
        indexes = [
            models.Index(fields=["project", "status", "requested_at", "id"], name="approvals_queue"),
            models.Index(fields=["project", "requested_at", "id"], name="approvals_list"),
            models.Index(fields=["session", "attempt"], name="approvals_of_attempt"),
            models.Index(
                fields=["next_step_at"],
                condition=Q(status=Status.PENDING, next_step_at__isnull=False),
                name="approvals_next_steps",
            ),
            models.Index(fields=["expires_at"], condition=Q(status=Status.PENDING), name="approvals_deadlines"),
            # With all that a count of them and of those that never run reads: it needs no row of the table.
            models.Index(
                fields=["settled_at", "project", "session", "attempt", "stale_at"],
                condition=UNCONSUMED,
                name="approvals_unconsumed",
            ),
            models.Index(
                fields=["tool_name", "risk", "settled_at"], condition=UNCONSUMED, name="approvals_unconsumed_by_tool"
            ),
            models.Index(
                fields=["consumed_at"],
                condition=Q(consumed_at__isnull=False, outcome__isnull=True),
                name="approvals_no_report",
            ),
            models.Index(
                fields=["project", "outcome_unknown_at"],
                condition=Q(outcome=Outcome.UNKNOWN),
                name="approvals_unknown_outcomes",
            ),
            models.Index(
                fields=["project", "tool_name", "repeat_digest"],
                condition=Q(repeat_digest__isnull=False),
                name="approvals_repeats",
            ),
            models.Index(fields=["rule", "settled_at"], condition=Q(rule__isnull=False), name="approvals_by_rule"),
            # The pages of the queue. Those of pending rows stay small, however many requests are settled.
            models.Index(
                fields=["requested_at", "id", "project"], condition=Q(status=Status.PENDING), name="approvals_pending"
            ),
            models.Index(
                fields=["tool_name", "risk", "requested_at", "id"],
                condition=Q(status=Status.PENDING),
                name="approvals_pending_by_tool",
            ),
            models.Index(
                fields=["assignee", "requested_at", "id"],
                condition=Q(status=Status.PENDING) & ~Q(assignee=""),
                name="approvals_assigned",
            ),
            models.Index(fields=["settled_at", "id"], condition=Q(settled_at__isnull=False), name="approvals_settled"),
            models.Index(fields=["settled_at", "id"], condition=Q(status=Status.EXPIRED), name="approvals_expired"),
            models.Index(fields=["settled_at", "id"], condition=Q(status=Status.CANCELLED), name="approvals_cancelled"),
            models.Index(
                fields=["project", "likeness", "settled_at"],
                condition=Q(status=Status.DENIED),
                name="approvals_denied_before",
            ),
        ]
        constraints = CONSTRAINTS

    def __str__(self) -> str:
        return f"{shortened(self.tool_name)} ({self.status})"

    @property
    def arguments(self) -> Any:
        """The arguments that run. They are read from the canonical text, so that no second copy can differ from it."""
        return json.loads(self.action)["arguments"]

    @property
    def proposed_arguments(self) -> Any:
        """The arguments that the agent first asked for; equal to `arguments` unless a person edited them."""
        return json.loads(self.proposed_action or self.action)["arguments"]

    @property
    def grant(self) -> str | None:
        """The id of the grant that let it through."""
        return self._let_through("grant")

    @property
    def plan(self) -> str | None:
        """The id of the plan that let it through."""
        return self._let_through("plan")

    def _let_through(self, by: str) -> str | None:
        kind, _, id = (self.rule or "").partition(":")
        return id if kind == by else None

    @property
    def preconditions(self) -> list[dict[str, str]]:
        """The facts that the action depends on, in the order of their names."""
        found: list[dict[str, str]] = json.loads(self.action).get("preconditions", [])
        return found

    @property
    def waiters(self) -> int:
        """The live waiters: the calls that are held for the answer, and the child that is blocked until it comes."""
        return self.held_calls + self.is_blocked

    @property
    def decided_at(self) -> Any:
        return self.settled_at if self.status in states.DECIDED else None
