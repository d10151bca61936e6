"""Reviewers, and the requests that wait for them."""

from __future__ import annotations

import uuid

from django.db import models
from django.db.models import Q

from accounts.models import Project
from approvals.models.approval import Approval
from approvals.states import ReviewerKind
from core.display.text import shortened


class Reviewer(models.Model):
    """A model or a program that looks at requests before people do, for the rules that name it."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    project = models.ForeignKey(Project, on_delete=models.CASCADE, related_name="+")
    name = models.CharField(max_length=64)
    kind = models.CharField(max_length=16, choices=ReviewerKind.choices)
    # Of a webhook: its URL, and the secrets that sign. The former one signs too until its end.
    url = models.TextField(blank=True, default="")
    secret = models.TextField(blank=True, default="")
    previous_secret = models.TextField(null=True)
    previous_until = models.DateTimeField(null=True)
    # Of a program: the name of its entry point.
    entry_point = models.CharField(max_length=64, blank=True, default="")
    # Requests that it looks at at once. Further ones wait.
    at_once = models.PositiveSmallIntegerField(default=4)
    changed_at = models.DateTimeField()
    changed_by = models.JSONField()

    class Meta:
        ordering = ["name"]
        # Who may change rules may change reviewers.
        default_permissions = ()
        constraints = [
            models.UniqueConstraint(fields=["project", "name"], name="approvals_reviewer_named_once"),
            models.CheckConstraint(
                condition=(Q(kind=ReviewerKind.WEBHOOK, entry_point="") & ~Q(url="") & ~Q(secret=""))
                | (Q(kind=ReviewerKind.PROGRAM, url="", secret="") & ~Q(entry_point="")),
                name="approvals_reviewer_kind_known",
            ),
        ]

    def __str__(self) -> str:
        return shortened(self.name)


class Review(models.Model):
    """A request that waits for a reviewer. The row is deleted with the verdict: one call can delete it, so one counts.

    The verdict is in `Approval.reviews`.
    """

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    approval = models.ForeignKey(Approval, on_delete=models.CASCADE, related_name="waiting_reviews")
    # A reviewer may be deleted meanwhile. Then the review ends at its deadline, and no ask fails.
    reviewer = models.ForeignKey(Reviewer, on_delete=models.DO_NOTHING, db_constraint=False, related_name="+")
    name = models.CharField(max_length=64)
    deadline_at = models.DateTimeField()
    # The call that runs. A later call takes over from a dead worker, and the earlier one counts no more.
    claim = models.UUIDField(null=True)

    class Meta:
        default_permissions = ()
        constraints = [models.UniqueConstraint(fields=["approval", "reviewer"], name="approvals_reviewed_once")]
        indexes = [models.Index(fields=["deadline_at"], name="approvals_reviews_due")]

    def __str__(self) -> str:
        return f"{self.reviewer_id} looks at {self.approval_id}"
