"""The rows of the ledger: events, the audit chain, the outbox, and the state of the sweeps."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import ClassVar

from django.db import models

from accounts.models import Project
from core.db.clock import Now
from core.db.fields import JSONText
from core.display.text import shortened


class Head(models.Model):
    """The ledger head: one row per project, locked last before COMMIT.

    The transaction that holds it numbers events and audit rows. So commit order is cursor order on both databases, and
    a reader's cursor can never skip a row that commits late (I13).
    """

    project = models.OneToOneField(Project, on_delete=models.PROTECT, primary_key=True, related_name="+")
    cursor = models.BigIntegerField(default=0)
    oldest = models.BigIntegerField(default=0, help_text="Events at or below this cursor have been pruned.")
    audit_number = models.BigIntegerField(default=0)
    audit_hash = models.CharField(max_length=64, default="0" * 64)


class Source(models.TextChoices):
    CHILD = "child", "the child"
    WARDROOM = "wardroom", "Wardroom"


class Event(models.Model):
    """One durable event. A child's own events carry its `seq`; Wardroom's have none."""

    project = models.ForeignKey(Project, on_delete=models.PROTECT, related_name="+")
    cursor = models.BigIntegerField()
    session = models.UUIDField(null=True)
    attempt = models.PositiveIntegerField(null=True)
    seq = models.BigIntegerField(null=True)
    source = models.CharField(max_length=8, choices=Source)
    type = models.CharField(max_length=200)
    at = models.DateTimeField(db_default=Now())
    # Declared before the payload: to reach a column after a large one, SQLite reads all of the large one.
    size = models.PositiveIntegerField(default=0, help_text="Bytes of the payload's text: pages are bounded by it.")
    payload = JSONText(default=dict)

    class Meta:
        ordering: ClassVar = ["cursor"]
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["project", "cursor"], name="event_cursor_once"),
            # A durable event is in the feed once, even if the child sends it again (I13).
            models.UniqueConstraint(fields=["session", "attempt", "seq"], name="event_seq_once"),
            models.CheckConstraint(condition=models.Q(source__in=sorted(Source.values)), name="event_source_is_known"),
        ]
        indexes: ClassVar = [models.Index(fields=["session", "cursor"], name="event_by_session")]

    def __str__(self) -> str:
        return f"{shortened(self.type)} ({self.cursor})"


class Kept(models.Model):
    """The number and size of the rows that the children of one session made us store."""

    session = models.UUIDField(primary_key=True)
    rows = models.BigIntegerField(default=0)
    bytes = models.BigIntegerField(default=0)

    class Meta:
        default_permissions: ClassVar[tuple[str, ...]] = ()


class AuditEntry(models.Model):
    """One decision or use of authority, chained by hash to the one before it (I12). Append-only."""

    project = models.ForeignKey(Project, on_delete=models.PROTECT, related_name="+")
    number = models.BigIntegerField()
    at = models.CharField(max_length=40, help_text="ISO 8601, UTC; text, because it is hashed as it stands.")
    actor = models.CharField(max_length=300)
    action = models.CharField(max_length=100)
    subject = models.CharField(max_length=300)
    detail = models.TextField(help_text="Canonical JSON (RFC 8785).")
    previous_hash = models.CharField(max_length=64)
    hash = models.CharField(max_length=64)

    class Meta:
        ordering: ClassVar = ["number"]
        verbose_name_plural = "audit entries"
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["project", "number"], name="audit_number_once"),
        ]
        indexes: ClassVar = [
            # The rows of one approval, for its receipt.
            models.Index(fields=["project", "subject"], name="audit_by_subject"),
        ]

    def __str__(self) -> str:
        """Return its number and action, for headings."""
        return f"{self.number} {self.action}"


class SigningKey(models.Model):
    """A key that signs receipts. Its public half is published for ever."""

    id = models.CharField(primary_key=True, max_length=43, help_text="The thumbprint of the public key (RFC 7638).")
    public = models.CharField(max_length=43)
    sealed = models.TextField(help_text="The private key, encrypted with a key made from SECRET_KEY.")
    created_at = models.DateTimeField(db_default=Now())
    retired_at = models.DateTimeField(null=True)

    class Meta:
        default_permissions: ClassVar[tuple[str, ...]] = ()

    def __str__(self) -> str:
        return self.id


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


class Sweep(models.Model):
    """The last run of a periodic job and its result. Staff sees it as *sweeper last ran n s ago*."""

    name = models.CharField(max_length=60, primary_key=True)
    started_at = models.DateTimeField(null=True)
    finished_at = models.DateTimeField(null=True)
    did = models.PositiveIntegerField(default=0)
    error = models.TextField(blank=True, default="")

    # Set only by `health.timed`: both moments if they can be read, and True in `is_odd` if one cannot.
    began: datetime | None = None
    ended: datetime | None = None
    silent_for: timedelta | None = None
    is_odd: bool = False

    class Meta:
        ordering: ClassVar = ["name"]

    def __str__(self) -> str:
        return self.name


class Outage(models.Model):
    """The last gap in one kind of Wardroom's own signs of life (`sweeps`, `heartbeats` of web processes).

    Every grace and idle clock restarts at the end of a gap of over 30 s, so that no child fails because of Wardroom's
    own downtime.
    """

    name = models.CharField(max_length=20, primary_key=True)
    seen_at = models.DateTimeField(null=True, help_text="The latest sign of life.")
    ended_at = models.DateTimeField(null=True, help_text="When life came back after the last gap.")
    lasted_secs = models.FloatField(default=0)


class Downtime(models.Model):
    """A time in which Wardroom itself was down. Its seconds do not count against any child."""

    began_at = models.DateTimeField()
    ended_at = models.DateTimeField(db_index=True)


class Why(models.TextChoices):
    FAILED = "failed", "it could not be processed"
    HELD = "held", "the brake holds it back"


class SkippedRow(models.Model):
    """A row that a sweep found and left unchanged. The record is deleted once the sweep has processed the row, or no
    longer finds it.
    """

    sweep = models.CharField(max_length=60)
    work = models.CharField(max_length=60, help_text="Which of the sweep's kinds of work.")
    row = models.CharField(max_length=300, help_text="What the work names the row by.")
    why = models.CharField(max_length=8, choices=Why)
    error = models.TextField(blank=True, default="")
    times = models.PositiveIntegerField(default=0, help_text="0: once, by a fault that may have been the database's.")
    since = models.DateTimeField(db_default=Now())
    tried_at = models.DateTimeField(db_default=Now())

    class Meta:
        ordering: ClassVar = ["sweep", "work", "since"]
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["sweep", "work", "row", "why"], name="row_skipped_once"),
        ]
