"""The receivers of webhooks."""

from __future__ import annotations

import uuid
from typing import ClassVar
from urllib.parse import urlsplit

from django.db import models
from django.db.models import Q

from accounts.models import Project
from core.db.clock import Now
from core.display.text import shortened


class DisabledReason(models.TextChoices):
    """The reason why nothing is sent to a webhook."""

    BY_HAND = "by_hand", "by a person"
    FAILING = "failing", "it failed for days"
    GONE = "gone", "it answered 410 Gone"


class Webhook(models.Model):
    """A receiver of Wardroom's own events of one project. It follows the feed: `cursor` is its place there.

    So the transaction of an event writes nothing for it, and a receiver that is away for days fills no table.
    """

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    project = models.ForeignKey(Project, on_delete=models.PROTECT, related_name="+")
    url = models.CharField(max_length=2000)
    name = models.CharField(max_length=200, blank=True, default="")
    types = models.JSONField(default=list, help_text="Globs over the types of events.")
    secret = models.TextField(help_text="The sealed secret that signs.")
    previous_secret = models.TextField(null=True)
    previous_until = models.DateTimeField(null=True, help_text="Until then the previous secret signs too.")
    disabled = models.CharField(max_length=8, choices=DisabledReason, null=True)
    disabled_at = models.DateTimeField(null=True)
    cursor = models.BigIntegerField(default=0, help_text="Events up to here have their deliveries.")
    created_at = models.DateTimeField(db_default=Now())
    created_by = models.CharField(max_length=300)

    class Meta:
        ordering: ClassVar = ["created_at", "id"]
        default_permissions: ClassVar = ("view", "change")
        constraints: ClassVar = [
            models.CheckConstraint(
                condition=Q(disabled__isnull=True, disabled_at__isnull=True)
                | Q(disabled__in=sorted(DisabledReason.values), disabled_at__isnull=False),
                name="webhook_disabled_for_a_reason",
            ),
            models.CheckConstraint(
                condition=Q(previous_secret__isnull=True, previous_until__isnull=True)
                | Q(previous_secret__isnull=False, previous_until__isnull=False),
                name="webhook_previous_secret_ends",
            ),
        ]

    def __str__(self) -> str:
        return shortened(self.name or self.host)

    @property
    def host(self) -> str:
        """The host of its URL. The rest may hold a secret."""
        return urlsplit(self.url).netloc[:300] or "no host"

    @property
    def lane(self) -> str:
        """The name of its lane."""
        return f"webhook:{self.pk}"
