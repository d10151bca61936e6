"""Events, the head of each project, and the quota of each session."""

from __future__ import annotations

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
