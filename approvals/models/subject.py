"""The clock of the (session, attempt) that asks."""

from __future__ import annotations

from datetime import timedelta

from django.db import models
from django.db.models import Q

from accounts.models import Project


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
