"""The rows beside a request: its waiters, snoozes, questions and steps."""

from __future__ import annotations

import uuid

from django.db import models
from django.db.models import Q

from accounts.models import User
from approvals import states
from approvals.models.approval import Approval
from approvals.states import StepKind


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
