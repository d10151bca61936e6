"""The rows: an address with its counter, a message, its pending row, its receipt, and the quarantined messages."""

from __future__ import annotations

import uuid
from datetime import datetime
from typing import Any, ClassVar

from django.db import models
from django.db.models import Q
from django.db.models.functions import Substr
from django.utils.functional import cached_property

from accounts.models import Project
from core.db.clock import Now
from mailbox import addresses, envelope, message_kinds
from mailbox.states import KINDS, WAITING_STATES, MessageState, QuarantineState
from mailbox.store import receipt_lookup


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


class Messages(models.QuerySet["Message"]):
    """Messages, filtered by state."""

    def placed(self) -> Messages:
        """Load the `waiting` row too, so that `state` costs no query for each message."""
        return self.select_related("waiting")

    def in_state(self, state: str) -> Messages:
        """Return the messages in this state."""
        if state in WAITING_STATES:
            return self.filter(waiting__state=state)
        return self.filter(waiting=None, dead_lettered=state == MessageState.QUARANTINED)


class Message(models.Model):
    """One message to one address. The sender gives `created_at`; only `seq` defines the order.

    The row never changes after acceptance, because its id must still be known when it is sent again. Other rows hold
    its state. It is pending as long as it has a `Waiting`; after that it was `dead_lettered`, or has its number in a
    `Receipt`.
    """

    # No constraints: the INSERT holds the lock of the address's row, which proves the project too. A second check
    # would cost as much as the insert.
    project = models.ForeignKey(
        Project, on_delete=models.PROTECT, related_name="+", db_index=False, db_constraint=False
    )
    address = models.ForeignKey(
        Address, on_delete=models.PROTECT, related_name="messages", db_index=False, db_constraint=False
    )
    seq = models.BigIntegerField()
    message_id = models.CharField(max_length=envelope.LONGEST_ID)
    message_kind = models.CharField(max_length=16, choices=[(kind, kind) for kind in sorted(KINDS)])
    # Text, not jsonb: a reader gets the sender's JSON unchanged, key by key.
    body_text = models.TextField()
    content_hash = models.CharField(max_length=64)
    correlation_id = models.CharField(max_length=envelope.LONGEST_ID, blank=True)
    # A session's id if it is proven; for a claimed sender, any name.
    sender_session = models.CharField(max_length=envelope.LONGEST_ID, blank=True)
    sender_role = models.CharField(max_length=envelope.LONGEST_ROLE, blank=True)
    claimed_sender = models.BooleanField(default=False)
    created_at = models.DateTimeField()
    received_at = models.DateTimeField()
    # True if in quarantine or discarded there: the message is not pending and was not admitted.
    dead_lettered = models.BooleanField(default=False)
    spent_tries = models.PositiveIntegerField(default=0)

    objects = Messages.as_manager()

    class Meta:
        ordering: ClassVar = ["-pk"]
        permissions: ClassVar = [
            ("deliver_message", "Can deliver messages to mailboxes"),
            ("drain_message", "Can drain mailboxes, and settle what is drained"),
        ]
        constraints: ClassVar = [
            # The same message twice is one row (I2), however many senders race.
            models.UniqueConstraint(fields=["project", "message_id"], name="message_once_in_its_project"),
            # Two messages with one number would have no order (I3).
            models.UniqueConstraint(fields=["address", "seq"], name="message_number_once_at_its_address"),
            models.CheckConstraint(condition=Q(message_kind__in=sorted(KINDS)), name="message_kind_is_known"),
        ]

    def __str__(self) -> str:
        return self.message_id

    @property
    def body(self) -> Any:
        """The body as the sender's JSON value."""
        return message_kinds.stored(self.body_text)

    @property
    def pending(self) -> Waiting | None:
        """Its pending row, or None."""
        return getattr(self, "waiting", None)

    @property
    def state(self) -> MessageState:
        """Its state, derived from the rows that exist."""
        if self.dead_lettered:
            return MessageState.QUARANTINED
        return MessageState(self.pending.state) if self.pending else MessageState.ADMITTED

    @cached_property
    def receipt(self) -> Receipt | None:
        """The receipt of its acknowledgement, or None."""
        return Receipt.objects.filter(pk__in=receipt_lookup.receipts_of([self.pk]).values()).first()

    @property
    def tries(self) -> int:
        """The number of claims so far."""
        if self.pending:
            return self.pending.tries
        return self.spent_tries if self.receipt is None else self.receipt.tries_of(self.seq) or 0

    @property
    def admitted_at(self) -> datetime | None:
        """The time at which it was acknowledged, or entered an agent's history."""
        return self.receipt.admitted_at if self.receipt else None

    @property
    def admitted_attempt(self) -> int | None:
        """The session's attempt that took the message into its history, or None."""
        return self.receipt.attempt if self.receipt else None


class Waiting(models.Model):
    """A pending message and its current claim. The row is deleted when the message is admitted or quarantined.

    It is a narrow row of its own, because claims, extensions and acknowledgements change it all day. After an
    acknowledgement nothing of it stays in any index.
    """

    # No constraints: the same statement has inserted the message row that both keys come from.
    message = models.OneToOneField(
        Message, on_delete=models.CASCADE, primary_key=True, related_name="waiting", db_constraint=False
    )
    address = models.ForeignKey(
        Address, on_delete=models.PROTECT, related_name="+", db_index=False, db_constraint=False
    )
    seq = models.BigIntegerField()
    state = models.CharField(max_length=12, choices=MessageState, default=MessageState.NEW)
    tries = models.PositiveIntegerField(default=0)
    # Bytes of the body, so that a claim can count its bytes.
    size = models.PositiveIntegerField(db_default=0)
    due_at = models.DateTimeField(null=True)
    claim = models.UUIDField(null=True)
    consumer = models.CharField(max_length=envelope.LONGEST_ID, blank=True)
    claim_expires_at = models.DateTimeField(null=True)

    class Meta:
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["address", "seq"], name="waiting_in_order"),
            models.CheckConstraint(condition=Q(state__in=sorted(WAITING_STATES)), name="waiting_state_is_known"),
            # A claim without a token could never be acknowledged; one without an end could never expire.
            models.CheckConstraint(
                condition=~Q(state="claimed") | Q(claim__isnull=False, claim_expires_at__isnull=False),
                name="waiting_claim_has_token_and_end",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.state} {self.message_id}"


class Receipt(models.Model):
    """The result of one acknowledgement at one address: the numbers of its messages, each with its tries."""

    address = models.ForeignKey(
        Address, on_delete=models.PROTECT, related_name="+", db_index=False, db_constraint=False
    )
    # At a plain address, the claim that acknowledged. At a session's address, the attempt that took the messages in.
    claim = models.UUIDField(null=True)
    attempt = models.PositiveIntegerField(null=True)
    admitted_at = models.DateTimeField()
    first_seq = models.BigIntegerField()
    last_seq = models.BigIntegerField()
    taken = models.JSONField()

    class Meta:
        indexes: ClassVar = [
            models.Index(fields=["address", "last_seq"], name="receipt_by_number"),
            # A session's history is read in this order. Receipts of plain addresses are not part of it.
            models.Index(fields=["address", "id"], name="receipt_of_attempt", condition=Q(attempt__isnull=False)),
        ]

    def __str__(self) -> str:
        return f"{len(self.taken)} at {self.admitted_at}"

    def tries_of(self, seq: int) -> int | None:
        """Return the number of claims of the message with this number, or None if it is not in this receipt."""
        found: int | None = self.taken.get(str(seq))
        return found


class Quarantines(models.QuerySet["Quarantined"]):
    """Quarantined messages, without the columns that a list does not show."""

    def with_preview(self, most: int) -> Quarantines:
        """Load the first `most` bytes as `preview`, and not the others."""
        return self.defer("raw").annotate(preview=Substr("raw", 1, most, output_field=models.BinaryField()))


class Quarantined(models.Model):
    """A message that could not be read or handled: its bytes as they came, and the reason. Nothing in it is trusted."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    # None: its project is not known. Only superusers see those.
    project = models.ForeignKey(Project, on_delete=models.PROTECT, related_name="+", null=True)
    source = models.CharField(max_length=32)
    # The source's own name for it (a file of a Maildir). The same source_ref is stored once.
    source_ref = models.CharField(max_length=300, blank=True)
    address = models.CharField(max_length=addresses.LONGEST, blank=True)
    message_id = models.CharField(max_length=envelope.LONGEST_ID, blank=True)
    # The message row, if it had been accepted before it failed.
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

    objects = Quarantines.as_manager()

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
            # Staff sees one message's failure once, until it is settled (I10).
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
