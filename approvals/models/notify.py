"""The rows behind telling people: their wishes, the place in the feed, notices that wait, and the told ones."""

from __future__ import annotations

import uuid

from django.db import models
from django.db.models import Q

from accounts.models import Project, User
from approvals import states
from approvals.models.approval import Approval
from approvals.states import NoticeKind
from core.db.clock import Now

USUAL_BATCH = 60


class NotifyPreference(models.Model):
    """The wishes of one person. A person without a row has the defaults."""

    user = models.OneToOneField(User, on_delete=models.CASCADE, related_name="+")
    mail = models.BooleanField(default=True, help_text="Tell me by mail.")
    chat = models.CharField(max_length=40, blank=True, default="", help_text="Tell me in this chat room.")
    settled = models.BooleanField(default=True, help_text="Tell me when others settled a request that I was told of.")
    batch_secs = models.PositiveIntegerField(
        default=USUAL_BATCH, verbose_name="wait", help_text="Seconds to collect requests before one mail is sent."
    )
    quiet_from = models.TimeField(null=True, blank=True, help_text="Nothing is sent from this time of day on ...")
    quiet_until = models.TimeField(null=True, blank=True, help_text="... until this one.")
    time_zone = models.CharField(max_length=64, default="UTC", help_text="The zone of these times, as Europe/Vienna.")

    class Meta:
        default_permissions = ()
        verbose_name = "notification preference"
        constraints = [
            models.CheckConstraint(
                condition=Q(quiet_from__isnull=True, quiet_until__isnull=True)
                | Q(quiet_from__isnull=False, quiet_until__isnull=False),
                name="approvals_quiet_hours_are_both_or_none",
            ),
        ]

    def __str__(self) -> str:
        return f"the preferences of {self.user.get_username()}"


class NotifyPosition(models.Model):
    """The place in a project's feed up to which notices were made."""

    project = models.OneToOneField(Project, on_delete=models.CASCADE, primary_key=True, related_name="+")
    cursor = models.BigIntegerField(default=0)

    class Meta:
        default_permissions = ()

    def __str__(self) -> str:
        return f"{self.project_id} at {self.cursor}"


class Notice(models.Model):
    """One thing to tell about one request, until it is sent. `target` is `user:<id>` or `room:<name>`."""

    target = models.CharField(max_length=60)
    approval = models.ForeignKey(Approval, on_delete=models.CASCADE, related_name="+")
    kind = models.CharField(max_length=16, choices=NoticeKind.choices)
    created_at = models.DateTimeField(db_default=Now())
    due_at = models.DateTimeField()

    class Meta:
        default_permissions = ()
        constraints = [
            models.UniqueConstraint(fields=["target", "approval", "kind"], name="approvals_noticed_once"),
            models.CheckConstraint(condition=Q(kind__in=states.values(NoticeKind)), name="approvals_notice_known"),
        ]
        indexes = [models.Index(fields=["due_at"], name="approvals_notices_due")]

    def __str__(self) -> str:
        return f"{self.kind} {self.approval_id} for {self.target}"


class Told(models.Model):
    """A target was told of a request that waits for an answer. `message` is the delivery that did it."""

    target = models.CharField(max_length=60)
    approval = models.ForeignKey(Approval, on_delete=models.CASCADE, related_name="+")
    message = models.UUIDField(default=uuid.uuid4)

    class Meta:
        default_permissions = ()
        constraints = [models.UniqueConstraint(fields=["target", "approval"], name="approvals_told_once")]

    def __str__(self) -> str:
        return f"{self.target} of {self.approval_id}"
