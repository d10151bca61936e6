"""The state of the sweeps, and outages."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import ClassVar

from django.db import models

from core.db.clock import Now


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
