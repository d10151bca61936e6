"""Rules: standing answers and demands of a project, the version of all of them, and the answers of silent ones."""

from __future__ import annotations

import uuid
from typing import Any

from django.db import models
from django.db.models import F, Func, Q, Value

from accounts.models import Project, User
from approvals import states
from approvals.models.approval import Approval
from approvals.states import OnExpiry, Reversibility, Risk, RuleOutcome
from core.db.fields import JSONText


class Policy(models.Model):
    """The version of a project's rules. Every change of a rule raises it in the same transaction.

    It is a number of microseconds that only grows, not a count: after a restored backup no version comes twice, so no
    process can take its cached rules for the current ones.
    """

    project = models.OneToOneField(Project, on_delete=models.CASCADE, primary_key=True, related_name="+")
    version = models.BigIntegerField()

    class Meta:
        default_permissions = ()

    def __str__(self) -> str:
        return f"{self.project_id}: {self.version}"


class PolicyVersion(Func):
    """The current version of a project's rules as SQL, NULL without rules. It costs no statement of its own."""

    template = "(SELECT version FROM approvals_policy WHERE project_id = %(expressions)s)"

    def __init__(self, project_id: Any = None) -> None:
        project = F("project_id") if project_id is None else Value(project_id, output_field=models.UUIDField())
        super().__init__(project, output_field=models.BigIntegerField(null=True))


class Rule(models.Model):
    """One rule of a project: the requests that it matches, and its answer or demands."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    project = models.ForeignKey(Project, on_delete=models.CASCADE, related_name="+")
    name = models.CharField(max_length=64)
    match = JSONText(default=dict)
    outcome = models.CharField(max_length=8, choices=RuleOutcome.choices)
    # For the agent, with a denial.
    message = models.TextField(blank=True, default="")
    raise_risk = models.CharField(max_length=16, choices=Risk.choices, null=True)
    raise_reversibility = models.CharField(max_length=32, choices=Reversibility.choices, null=True)
    approvers = JSONText(default=dict)
    four_eyes = models.BooleanField(default=False)
    # The reviewer for the outcome `review`, and what it may do.
    review = JSONText(null=True)
    deadline_secs = models.PositiveIntegerField(null=True)
    on_expiry = models.CharField(max_length=8, choices=OnExpiry.choices, default=OnExpiry.EXPIRE)
    remind_after_secs = JSONText(default=list)
    escalate = JSONText(default=list)
    shadow = models.BooleanField(default=False)
    enabled = models.BooleanField(default=True)
    version = models.PositiveIntegerField(default=1)
    changed_at = models.DateTimeField()
    changed_by = models.JSONField()

    class Meta:
        ordering = ["name"]
        constraints = [
            models.UniqueConstraint(fields=["project", "name"], name="approvals_rule_named_once"),
            models.CheckConstraint(
                condition=Q(outcome__in=states.values(RuleOutcome)), name="approvals_rule_outcome_known"
            ),
            models.CheckConstraint(
                condition=Q(on_expiry__in=states.values(OnExpiry)), name="approvals_rule_on_expiry_known"
            ),
            models.CheckConstraint(
                condition=Q(raise_risk__isnull=True) | Q(raise_risk__in=states.values(Risk)),
                name="approvals_rule_risk_known",
            ),
            models.CheckConstraint(
                condition=Q(raise_reversibility__isnull=True) | Q(raise_reversibility__in=states.values(Reversibility)),
                name="approvals_rule_reversibility_known",
            ),
        ]

    def __str__(self) -> str:
        return self.name


class ShadowAnswer(models.Model):
    """The answer that a silent rule would have given to one request."""

    approval = models.ForeignKey(Approval, on_delete=models.CASCADE, related_name="shadows")
    rule = models.UUIDField()
    name = models.CharField(max_length=64)
    version = models.PositiveIntegerField()
    outcome = models.CharField(max_length=8, choices=RuleOutcome.choices)

    class Meta:
        default_permissions = ()
        ordering = ["name"]
        constraints = [
            models.UniqueConstraint(fields=["approval", "rule"], name="approvals_shadow_once"),
        ]
        indexes = [models.Index(fields=["rule", "approval"], name="approvals_shadow_of_rule")]

    def __str__(self) -> str:
        return f"{self.name} would {self.outcome} {self.approval_id}"


class Vote(models.Model):
    """One person's approval of a request that needs several. One person counts once, across all their keys."""

    approval = models.ForeignKey(Approval, on_delete=models.CASCADE, related_name="votes")
    user = models.ForeignKey(User, on_delete=models.PROTECT, related_name="+")
    by = models.JSONField()
    at = models.DateTimeField()
    via = models.CharField(max_length=16)
    # The digest that was shown. A vote counts for no other action.
    digest = models.CharField(max_length=64)
    message = models.TextField(null=True)
    note = models.TextField(null=True)

    class Meta:
        default_permissions = ()
        ordering = ["id"]
        constraints = [models.UniqueConstraint(fields=["approval", "user"], name="approvals_voted_once")]

    def __str__(self) -> str:
        return f"{self.user_id} for {self.approval_id}"
