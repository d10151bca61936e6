"""The rows: an address with its counter, a message, and what could not be read."""

from __future__ import annotations

import json
import uuid
from typing import Any, ClassVar

from django.db import models
from django.db.models import Q

from accounts.clock import Now
from accounts.models import Project
from mailbox import addresses, letters
from mailbox.states import KINDS, MessageState, QuarantineState


class Address(models.Model):
    """One mailbox. Its row is the lock under which a message gets its number, so commit order is number order."""

    project = models.ForeignKey(Project, on_delete=models.PROTECT, related_name="+", db_index=False)
    name = models.CharField(max_length=addresses.LONGEST)
    last_seq = models.BigIntegerField(default=0)

    class Meta:
        verbose_name_plural = "addresses"
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["project", "name"], name="address_once_in_its_project"),
        ]

    def __str__(self) -> str:
        return self.name


class Message(models.Model):
    """One message to one address. `created_at` is the sender's word; only `seq` says the order."""

    # The address's own foreign key already proves the project; a second check would lock its row at every insert.
    project = models.ForeignKey(
        Project, on_delete=models.PROTECT, related_name="+", db_index=False, db_constraint=False
    )
    address = models.ForeignKey(Address, on_delete=models.PROTECT, related_name="messages", db_index=False)
    seq = models.BigIntegerField()
    message_id = models.CharField(max_length=letters.LONGEST_ID)
    message_kind = models.CharField(max_length=16, choices=[(kind, kind) for kind in sorted(KINDS)])
    # Text, not jsonb: a reader gets what the sender sent, key by key.
    body_text = models.TextField()
    content_hash = models.CharField(max_length=64)
    correlation_id = models.CharField(max_length=letters.LONGEST_ID, blank=True)
    sender_session = models.UUIDField(null=True)
    sender_role = models.CharField(max_length=letters.LONGEST_ROLE, blank=True)
    claimed_sender = models.BooleanField(default=False)
    created_at = models.DateTimeField()
    received_at = models.DateTimeField()
    state = models.CharField(max_length=12, choices=MessageState, default=MessageState.NEW)
    tries = models.PositiveIntegerField(default=0)
    due_at = models.DateTimeField(null=True)
    claim = models.UUIDField(null=True)
    consumer = models.CharField(max_length=letters.LONGEST_ID, blank=True)
    claim_expires_at = models.DateTimeField(null=True)
    admitted_at = models.DateTimeField(null=True)
    admitted_attempt = models.PositiveIntegerField(null=True)
    # What the waiting index asks. A claim changes `state` and not this, so PostgreSQL need not write any index again.
    waits = models.GeneratedField(
        expression=Q(state__in=["claimed", "new"]),  # type: ignore[arg-type]
        output_field=models.BooleanField(),
        db_persist=True,
    )

    class Meta:
        ordering: ClassVar = ["-pk"]
        constraints: ClassVar = [
            # The same message twice is one row (I2), however many senders race.
            models.UniqueConstraint(fields=["project", "message_id"], name="message_once_in_its_project"),
            # Two messages with one number would have no order (I3).
            models.UniqueConstraint(fields=["address", "seq"], name="message_number_once_at_its_address"),
            models.CheckConstraint(condition=Q(state__in=sorted(MessageState.values)), name="message_state_is_known"),
            models.CheckConstraint(condition=Q(message_kind__in=sorted(KINDS)), name="message_kind_is_known"),
            # A claim without token or end could never be acknowledged, or never lapse.
            models.CheckConstraint(
                condition=~Q(state="claimed") | Q(claim__isnull=False, claim_expires_at__isnull=False),
                name="message_claim_has_token_and_end",
            ),
            models.CheckConstraint(
                condition=Q(admitted_at__isnull=True) ^ Q(state="admitted"), name="message_admitted_has_its_time"
            ),
        ]
        indexes: ClassVar = [
            models.Index(fields=["address", "seq"], name="message_waiting", condition=Q(waits=True)),
            models.Index(fields=["admitted_at"], name="message_to_purge", condition=Q(admitted_at__isnull=False)),
        ]

    def __str__(self) -> str:
        return self.message_id

    @property
    def body(self) -> Any:
        """The body as the sender's JSON value."""
        return json.loads(self.body_text)


class Quarantined(models.Model):
    """What could not be read, or not be handled: the bytes as they came, and why. Nothing here is trusted."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    # None: nobody could tell whose it is. Only superusers see those.
    project = models.ForeignKey(Project, on_delete=models.PROTECT, related_name="+", null=True)
    source = models.CharField(max_length=32)
    # Where a source can name the thing (a file of a Maildir), the same thing is kept once.
    source_ref = models.CharField(max_length=300, blank=True)
    address = models.CharField(max_length=addresses.LONGEST, blank=True)
    message_id = models.CharField(max_length=letters.LONGEST_ID, blank=True)
    # The message itself, when it had been accepted before it failed.
    accepted = models.ForeignKey(Message, on_delete=models.SET_NULL, related_name="quarantined", null=True)
    raw = models.BinaryField()
    size = models.PositiveIntegerField()
    reason = models.TextField()
    position = models.PositiveIntegerField(null=True)
    state = models.CharField(max_length=12, choices=QuarantineState, default=QuarantineState.WAITING)
    created_at = models.DateTimeField(db_default=Now())
    settled_at = models.DateTimeField(null=True)
    settled_by = models.CharField(max_length=200, blank=True)
    note = models.TextField(blank=True)

    class Meta:
        verbose_name = "quarantined message"
        verbose_name_plural = "quarantined messages"
        default_permissions: ClassVar = ("view",)
        permissions: ClassVar = [
            ("inspect_quarantine", "Can look into quarantined messages"),
            ("requeue", "Can requeue and discard quarantined messages"),
        ]
        constraints: ClassVar = [
            models.CheckConstraint(
                condition=Q(state__in=sorted(QuarantineState.values)), name="quarantine_state_is_known"
            ),
            # One message's failure is in front of staff once, until somebody settles it (I10).
            models.UniqueConstraint(
                fields=["accepted"], name="quarantine_once_while_waiting", condition=Q(state="waiting")
            ),
            models.UniqueConstraint(
                fields=["project", "source", "source_ref"],
                name="quarantine_once_for_its_source",
                condition=~Q(source_ref=""),
            ),
        ]
        indexes: ClassVar = [
            models.Index(fields=["project", "state", "created_at"], name="quarantine_by_age"),
            models.Index(fields=["project", "address"], name="quarantine_waiting", condition=Q(state="waiting")),
            models.Index(fields=["settled_at"], name="quarantine_to_purge", condition=Q(settled_at__isnull=False)),
        ]

    def __str__(self) -> str:
        return f"{self.source} {self.message_id or self.id}"
