"""Messages to other systems."""

from __future__ import annotations

from typing import ClassVar

from django.db import models

from accounts.models import Project
from core.db.clock import Now
from core.display.text import shortened


class OutboxEntry(models.Model):
    """A message to another system. It is written with the change, sent after it, and retried until it is accepted."""

    project = models.ForeignKey(Project, on_delete=models.PROTECT, related_name="+")
    kind = models.CharField(max_length=40)
    key = models.CharField(max_length=200, unique=True)
    payload = models.JSONField(default=dict)
    created_at = models.DateTimeField(db_default=Now())
    due_at = models.DateTimeField(db_default=Now())
    sent_at = models.DateTimeField(null=True)
    tries = models.PositiveIntegerField(default=0)
    last_error = models.TextField(blank=True, default="")

    class Meta:
        verbose_name_plural = "outbox entries"
        indexes: ClassVar = [
            models.Index(fields=["due_at"], condition=models.Q(sent_at=None), name="outbox_waiting"),
        ]

    def __str__(self) -> str:
        return shortened(self.key)
