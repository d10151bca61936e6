"""Messages to receivers outside: webhooks, mail, chat. Each is one row until it is accepted or given up."""

from __future__ import annotations

import uuid
from typing import ClassVar

from django.db import models
from django.db.models import Q

from accounts.models import Project
from core.db.clock import Now
from core.display.text import shortened
from ledger.models.webhooks import Webhook


class DeliveryState(models.TextChoices):
    """A delivery waits until its receiver accepts it, or until it is given up."""

    WAITING = "waiting"
    SENT = "sent"
    FAILED = "failed"


class Lane(models.Model):
    """One receiver. Its deliveries are sent one after the other, by the process that holds the lease.

    Receivers do not wait for each other: a dead one only pauses its own lane. Every lane is `kind:receiver`.
    """

    name = models.CharField(max_length=100, primary_key=True)
    leased_until = models.DateTimeField(null=True)
    # The token of the lease. A process that was slow, and lost it to another one, holds an older token.
    lease = models.UUIDField(null=True)
    paused_until = models.DateTimeField(null=True)
    failures = models.PositiveIntegerField(default=0, help_text="Failures since the last success.")
    failing_since = models.DateTimeField(null=True)
    # Its last answer took long. Such receivers share few of the places of a round.
    is_slow = models.BooleanField(default=False)
    # Its receiver is disabled: nothing is sent.
    is_held = models.BooleanField(default=False)
    served_at = models.DateTimeField(null=True)

    class Meta:
        default_permissions: ClassVar[tuple[str, ...]] = ()

    def __str__(self) -> str:
        return self.name


class Delivery(models.Model):
    """One message to one receiver. Its id is the same in every try, so a receiver can drop a repeated one."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    project = models.ForeignKey(Project, on_delete=models.PROTECT, related_name="+")
    lane = models.CharField(max_length=100)
    webhook = models.ForeignKey(Webhook, on_delete=models.CASCADE, null=True, related_name="deliveries")
    # The source of the delivery, so that it is made once.
    key = models.CharField(max_length=200, unique=True)
    receiver = models.CharField(max_length=300)
    type = models.CharField(max_length=200)
    cursor = models.BigIntegerField(null=True)
    payload = models.TextField(help_text="The text that is sent and signed.")
    state = models.CharField(max_length=8, choices=DeliveryState, default=DeliveryState.WAITING)
    created_at = models.DateTimeField(db_default=Now())
    # It is given up some days after this. A redrive begins again.
    began_at = models.DateTimeField(db_default=Now())
    due_at = models.DateTimeField(db_default=Now())
    settled_at = models.DateTimeField(null=True)
    tries = models.PositiveIntegerField(default=0)
    last_status = models.PositiveIntegerField(null=True)
    last_error = models.TextField(blank=True, default="")
    took_ms = models.PositiveIntegerField(null=True)

    class Meta:
        ordering: ClassVar = ["created_at", "id"]
        verbose_name_plural = "deliveries"
        # Sent, retried and deleted by Wardroom. A person may send one again.
        default_permissions: ClassVar = ("view", "change")
        constraints: ClassVar = [
            models.CheckConstraint(condition=Q(state__in=sorted(DeliveryState.values)), name="delivery_state_is_known"),
            models.CheckConstraint(
                condition=Q(state="waiting", settled_at__isnull=True)
                | (~Q(state="waiting") & Q(settled_at__isnull=False)),
                name="delivery_settled_at_a_time",
            ),
        ]
        indexes: ClassVar = [
            models.Index(fields=["lane", "due_at"], condition=Q(state="waiting"), name="delivery_waiting"),
            models.Index(fields=["webhook", "created_at", "id"], name="delivery_of_webhook"),
            models.Index(fields=["settled_at"], condition=~Q(state="waiting"), name="delivery_settled"),
        ]

    def __str__(self) -> str:
        return f"{shortened(self.type)} to {shortened(self.receiver)}"
