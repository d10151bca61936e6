"""The rows of this app: an approval, and the clock of the (session, attempt) that asked. No operations."""

from __future__ import annotations

import json
import uuid
from datetime import timedelta
from typing import Any

from django.db import models
from django.db.models import Q

from accounts.models import Project, User
from approvals import states
from approvals.states import CancelReason, Decision, Fallback, RequestVia, Reversibility, Risk, Status, StepKind, Via
from core.db.fields import JSONText
from core.display.text import shortened


class Subject(models.Model):
    """One attempt of one session that asks, as plain values, with its clock.

    `pending` counts asks over the connection; they stop the watchdog's clocks. `pending_aside` counts asks by REST;
    they stop nothing. The sum of both is bounded.
    """

    project = models.ForeignKey(Project, on_delete=models.PROTECT, related_name="+")
    session = models.UUIDField()
    attempt = models.PositiveIntegerField()
    pending = models.PositiveIntegerField(default=0)
    pending_aside = models.PositiveIntegerField(default=0)
    waiting_since = models.DateTimeField(null=True)
    waited = models.DurationField(default=timedelta(0))
    last_settled_at = models.DateTimeField(null=True)
    closed_at = models.DateTimeField(null=True)

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["session", "attempt"], name="approvals_subject_once"),
            # The clock is stopped exactly while an ask over the connection is pending.
            models.CheckConstraint(
                condition=Q(pending=0, waiting_since__isnull=True) | Q(pending__gt=0, waiting_since__isnull=False),
                name="approvals_subject_clock",
            ),
            # Nothing waits for an answer on behalf of an attempt that is over.
            models.CheckConstraint(
                condition=Q(closed_at__isnull=True) | Q(pending=0, pending_aside=0),
                name="approvals_subject_closed_is_empty",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.session} attempt {self.attempt}"


class ApprovalQuerySet(models.QuerySet["Approval"]):
    """Filters only. The operations change rows."""

    def of(self, session: uuid.UUID | None, attempt: int | None) -> ApprovalQuerySet:
        return self.filter(session=session, attempt=attempt)

    def pending(self) -> ApprovalQuerySet:
        return self.filter(status=Status.PENDING)

    def decided(self) -> ApprovalQuerySet:
        return self.filter(status__in=sorted(states.DECIDED))

    def unconsumed(self) -> ApprovalQuerySet:
        """Approved and never run. A response to a question runs nothing, so it is left out."""
        return self.filter(status=Status.APPROVED, consumed_at__isnull=True).exclude(decision_kind=Decision.RESPOND)

    def in_time(self, now: Any) -> ApprovalQuerySet:
        return self.filter(Q(expires_at__isnull=True) | Q(expires_at__gt=now))

    def overdue(self, now: Any) -> ApprovalQuerySet:
        return self.pending().filter(expires_at__lte=now)


class Approval(models.Model):
    """One request to run one exact action, and its outcome."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    project = models.ForeignKey(Project, on_delete=models.PROTECT, related_name="+")
    session = models.UUIDField(null=True)
    attempt = models.PositiveIntegerField(null=True)
    # The ids of the sessions from the root of the tree to the one that asks.
    path = JSONText(default=list)
    request_id = models.CharField(max_length=256)
    via = models.CharField(max_length=16, choices=RequestVia.choices)
    asked_digest = models.CharField(max_length=64)
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

    # Who looks at it, whom it is for, and how often it was escalated. None of these decides who may answer.
    claimed_by = models.JSONField(null=True)
    claimed_until = models.DateTimeField(null=True)
    assigned_to = models.JSONField(null=True)
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
    outcome_unknown_at = models.DateTimeField(null=True)
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
        permissions = [("ask", "Can ask for approvals"), ("decide", "Can answer approvals")]
        indexes = [
            models.Index(fields=["project", "status", "requested_at", "id"], name="approvals_queue"),
            models.Index(fields=["project", "requested_at", "id"], name="approvals_list"),
            models.Index(fields=["session", "attempt"], name="approvals_of_attempt"),
            models.Index(fields=["expires_at"], condition=Q(status=Status.PENDING), name="approvals_deadlines"),
            models.Index(
                fields=["settled_at"],
                condition=Q(status=Status.APPROVED, consumed_at__isnull=True),
                name="approvals_not_consumed",
            ),
        ]
        constraints = [
            models.CheckConstraint(
                condition=Q(session__isnull=True, attempt__isnull=True)
                | Q(session__isnull=False, attempt__isnull=False),
                name="approvals_session_with_attempt",
            ),
            # The same request asked twice is one row.
            models.UniqueConstraint(
                fields=["session", "attempt", "request_id"],
                condition=Q(session__isnull=False),
                name="approvals_asked_once",
            ),
            models.UniqueConstraint(
                fields=["project", "request_id"],
                condition=Q(session__isnull=True),
                name="approvals_asked_once_alone",
            ),
            models.CheckConstraint(condition=Q(status__in=states.values(Status)), name="approvals_status_known"),
            models.CheckConstraint(condition=Q(risk__in=states.values(Risk)), name="approvals_risk_known"),
            models.CheckConstraint(
                condition=Q(reversibility__in=states.values(Reversibility)), name="approvals_reversibility_known"
            ),
            models.CheckConstraint(condition=Q(via__in=states.values(RequestVia)), name="approvals_via_known"),
            # I5, I6: only approved and denied rows have a decision, and each decision has a kind and an actor.
            models.CheckConstraint(
                condition=Q(
                    status=Status.APPROVED,
                    decision_kind__in=states.deciding(Status.APPROVED),
                    decided_by__isnull=False,
                    decided_via__in=states.values(Via),
                )
                | Q(
                    status=Status.DENIED,
                    decision_kind__in=states.deciding(Status.DENIED),
                    decided_by__isnull=False,
                    decided_via__in=states.values(Via),
                )
                | Q(
                    status__in=sorted(set(states.values(Status)) - set(states.DECIDED)),
                    decision_kind__isnull=True,
                    decided_by__isnull=True,
                    decided_via__isnull=True,
                ),
                name="approvals_decided_by_somebody",
            ),
            models.CheckConstraint(
                condition=Q(status=Status.PENDING, settled_at__isnull=True)
                | Q(status__in=sorted(states.TERMINAL), settled_at__isnull=False),
                name="approvals_settled_when_over",
            ),
            models.CheckConstraint(
                condition=Q(status=Status.CANCELLED, cancel_reason__in=states.values(CancelReason))
                | (~Q(status=Status.CANCELLED) & Q(cancel_reason__isnull=True)),
                name="approvals_cancelled_for_a_reason",
            ),
            # I7: only an approved row is ever consumed.
            models.CheckConstraint(
                condition=Q(consumed_at__isnull=True) | Q(status=Status.APPROVED),
                name="approvals_consumed_if_approved",
            ),
            # Nothing is delivered before there is an answer.
            models.CheckConstraint(
                condition=Q(delivered_at__isnull=True) | ~Q(status=Status.PENDING),
                name="approvals_delivered_if_settled",
            ),
            models.CheckConstraint(
                condition=Q(proposed_digest__isnull=True, proposed_action__isnull=True)
                | Q(decision_kind=Decision.EDIT, proposed_digest__isnull=False, proposed_action__isnull=False),
                name="approvals_proposed_if_edited",
            ),
            models.CheckConstraint(
                condition=Q(fallback__isnull=True, fallback_at__isnull=True)
                | Q(fallback__in=states.values(Fallback), fallback_at__isnull=False),
                name="approvals_fallback_known",
            ),
            models.CheckConstraint(condition=Q(version__gte=1), name="approvals_version_from_one"),
            # I7: nothing runs on facts that nobody approved.
            models.CheckConstraint(
                condition=Q(stale_at__isnull=True, stale__isnull=True)
                | Q(stale_at__isnull=False, stale__isnull=False, consumed_at__isnull=True, status=Status.APPROVED),
                name="approvals_stale_never_runs",
            ),
            # A claim is a lease: it has an owner and an end, or neither.
            models.CheckConstraint(
                condition=Q(claimed_by__isnull=True, claimed_until__isnull=True)
                | Q(claimed_by__isnull=False, claimed_until__isnull=False),
                name="approvals_claim_is_a_lease",
            ),
            models.CheckConstraint(
                condition=Q(escalations=0, escalated_at__isnull=True)
                | Q(escalations__gt=0, escalated_at__isnull=False),
                name="approvals_escalated_at_a_time",
            ),
        ]

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


class Waiter(models.Model):
    """A call that waits for this approval until the lease ends. After a crash only an expired row remains."""

    approval = models.ForeignKey(Approval, on_delete=models.CASCADE, related_name="waits")
    lease_until = models.DateTimeField()

    class Meta:
        default_permissions = ()
        indexes = [models.Index(fields=["approval", "lease_until"], name="approvals_waiters")]

    def __str__(self) -> str:
        return f"a wait for {self.approval_id}"


class Snooze(models.Model):
    """A request that one person has put out of their own queue until a time. It changes nothing for others."""

    approval = models.ForeignKey(Approval, on_delete=models.CASCADE, related_name="snoozes")
    user = models.ForeignKey(User, on_delete=models.CASCADE, related_name="+")
    until = models.DateTimeField()

    class Meta:
        default_permissions = ()
        constraints = [models.UniqueConstraint(fields=["approval", "user"], name="approvals_snoozed_once")]

    def __str__(self) -> str:
        return f"{self.approval_id} until {self.until}"


class Question(models.Model):
    """A question of an approver to the asker, about its pending request, and the answer."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    approval = models.ForeignKey(Approval, on_delete=models.CASCADE, related_name="questions")
    question = models.TextField()
    asked_by = models.JSONField()
    asked_at = models.DateTimeField()
    answer = models.TextField(null=True)
    answered_at = models.DateTimeField(null=True)

    class Meta:
        default_permissions = ()
        ordering = ["asked_at", "id"]
        constraints = [
            models.CheckConstraint(
                condition=Q(answer__isnull=True, answered_at__isnull=True)
                | Q(answer__isnull=False, answered_at__isnull=False),
                name="approvals_answered_at_a_time",
            ),
        ]

    def __str__(self) -> str:
        return f"a question about {self.approval_id}"


class Step(models.Model):
    """One step in the life of a request before its answer: delegated, extended, escalated and so on, and by whom."""

    approval = models.ForeignKey(Approval, on_delete=models.CASCADE, related_name="steps")
    kind = models.CharField(max_length=16, choices=StepKind.choices)
    at = models.DateTimeField()
    by = models.JSONField()
    detail = models.JSONField(default=dict)
    # For the staff.
    note = models.TextField(null=True)

    class Meta:
        default_permissions = ()
        ordering = ["id"]
        constraints = [
            models.CheckConstraint(condition=Q(kind__in=states.values(StepKind)), name="approvals_step_known"),
        ]

    def __str__(self) -> str:
        return f"{self.kind} {self.approval_id}"
