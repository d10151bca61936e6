"""The tables: sessions, their attempts and history, and the web processes that hold their connections."""

from __future__ import annotations

import uuid
from typing import Any, ClassVar

from django.db import models

from accounts.models import Project, User
from core.db.clock import Now
from core.display.redaction import redacted
from core.display.text import shortened
from orchestration.states import ENDED, LONGEST_RUNNER, TERMINAL, Runner, Status


class Session(models.Model):
    """The work of one agent. A root has no parent. A child has a parent and belongs to the parent's project."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    project = models.ForeignKey(Project, on_delete=models.PROTECT, related_name="+")
    parent = models.ForeignKey("self", on_delete=models.PROTECT, null=True, blank=True, related_name="children")
    root = models.UUIDField(db_index=True)
    depth = models.PositiveSmallIntegerField(default=0)
    role = models.CharField(max_length=100, blank=True, default="")
    title = models.CharField(max_length=300, blank=True, default="")
    assignment = models.TextField()
    runner = models.CharField(max_length=LONGEST_RUNNER, default=Runner.PROCESS)
    command = models.JSONField(null=True, blank=True, help_text="argv of a process child without a role.")
    options = models.JSONField(default=dict, help_text="model, provider, reasoning_effort, disabled_tools, ...")
    metadata = models.JSONField(default=dict)
    has_role_reach = models.BooleanField(
        default=False, help_text="It has the grants of its role. Otherwise the role is only a label."
    )
    may_run_unasked = models.BooleanField(
        default=False, help_text="Every caller that started it may run commands without an approval."
    )
    status = models.CharField(max_length=10, choices=Status, default=Status.QUEUED)
    attempt = models.PositiveIntegerField(default=0, help_text="The current attempt. Earlier attempts change nothing.")
    retries_left = models.PositiveSmallIntegerField(default=0)
    result = models.TextField(null=True, blank=True)
    error = models.TextField(null=True, blank=True)
    cancel_requested_at = models.DateTimeField(null=True, blank=True)
    cancel_reason = models.TextField(blank=True, default="")
    cancellation = models.ForeignKey(
        "Cancellation",
        on_delete=models.SET_NULL,
        null=True,
        blank=True,
        related_name="+",
        help_text="The cancel of a large tree that visited it.",
    )
    cancellation_attempt = models.PositiveIntegerField(
        null=True, blank=True, help_text="The attempt that it visited. That attempt can no longer spawn."
    )
    restart = models.BooleanField(default=False, help_text="Interrupted: a new attempt begins when this one ends.")
    waiting_for = models.JSONField(null=True, blank=True)
    wait_until = models.DateTimeField(null=True, blank=True)
    wait_extended_secs = models.FloatField(default=0, help_text="Seconds added for outages of Wardroom itself.")
    last_tool = models.CharField(max_length=200, blank=True, default="")
    rounds = models.PositiveIntegerField(default=0)
    owner = models.ForeignKey(
        User,
        on_delete=models.SET_NULL,
        null=True,
        blank=True,
        related_name="+",
        db_index=False,
        help_text="The person who started it. A child's children have its owner.",
    )
    created_by = models.CharField(max_length=300, blank=True, default="")
    created_at = models.DateTimeField(db_default=Now(), editable=False)
    queued_at = models.DateTimeField(
        db_default=Now(), null=True, blank=True, editable=False, help_text="Set only while it is queued."
    )
    started_at = models.DateTimeField(null=True, blank=True)
    last_event_at = models.DateTimeField(null=True, blank=True)
    finished_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        ordering: ClassVar = ["-created_at", "-id"]
        permissions: ClassVar = [("stop_session", "Can cancel, interrupt and retry sessions")]
        constraints: ClassVar = [
            models.CheckConstraint(
                condition=models.Q(status__in=sorted(Status.values)), name="session_status_is_known"
            ),
            # Only its shape: a package that adds a runner may be removed while its sessions stay.
            models.CheckConstraint(condition=~models.Q(runner=""), name="session_runner_is_named"),
            # A terminal session has an end time, and an open one has none.
            models.CheckConstraint(
                condition=models.Q(status__in=sorted(TERMINAL), finished_at__isnull=False)
                | (~models.Q(status__in=sorted(TERMINAL)) & models.Q(finished_at__isnull=True)),
                name="session_ends_when_terminal",
            ),
            # Without it, a queued session would wait for ever.
            models.CheckConstraint(
                condition=~models.Q(status=Status.QUEUED) | models.Q(queued_at__isnull=False),
                name="session_queued_has_a_turn",
            ),
        ]
        indexes: ClassVar = [
            models.Index(fields=["project", "created_at"], name="session_by_age"),
            models.Index(fields=["status", "created_at"], name="session_by_status"),
            models.Index(
                fields=["runner", "project", "queued_at", "id"],
                condition=models.Q(queued_at__isnull=False),
                name="session_queue",
            ),
            models.Index(
                fields=["runner", "-depth", "queued_at", "id"],
                condition=models.Q(queued_at__isnull=False),
                name="session_queue_by_depth",
            ),
        ]

    def __str__(self) -> str:
        return shortened(redacted(self.title) or self.role or str(self.id))

    @property
    def is_terminal(self) -> bool:
        """Return whether the session is over. It may still be started again."""
        return self.status in TERMINAL

    @property
    def address(self) -> str:
        """Return the session's reserved mailbox address."""
        return f"session:{self.id}"


class Cancellation(models.Model):
    """The cancel of a tree that is too large for one transaction, with its progress."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    project = models.ForeignKey(Project, on_delete=models.PROTECT, related_name="+")
    top = models.ForeignKey(Session, on_delete=models.PROTECT, related_name="cancellations")
    reason = models.TextField()
    requested_at = models.DateTimeField()
    told = models.PositiveIntegerField(default=0, help_text="The number of sessions that were told to stop.")
    ended = models.PositiveIntegerField(
        default=0, help_text="The number of sessions that ended because they did not run."
    )
    finished_at = models.DateTimeField(null=True)

    class Meta:
        indexes: ClassVar = [
            models.Index(fields=["requested_at"], condition=models.Q(finished_at=None), name="cancellation_unfinished")
        ]

    def __str__(self) -> str:
        return f"cancel of {self.top_id}"


class Attempt(models.Model):
    """One attempt to run a session. Its end is final, and an ended attempt cannot change anything (I8)."""

    session = models.ForeignKey(Session, on_delete=models.PROTECT, related_name="attempts")
    number = models.PositiveIntegerField()
    status = models.CharField(max_length=10, choices=Status, default=Status.QUEUED)
    reason = models.TextField(blank=True, default="")
    created_at = models.DateTimeField(db_default=Now(), editable=False)
    launched_at = models.DateTimeField(null=True, help_text="The time at which a launch claimed it.")
    relaunched = models.BooleanField(default=False, help_text="It replaces an attempt that sent no frame.")
    resume = models.JSONField(null=True, help_text="The reason to continue after a wait: {reason, wait_for, children}.")
    model = models.JSONField(
        null=True, help_text="The routed model {provider, model, provider_type}; {} if the router failed."
    )
    running_at = models.DateTimeField(null=True)
    ended_at = models.DateTimeField(null=True)
    last_event_at = models.DateTimeField(null=True)

    # reports of the supervisor
    host = models.CharField(max_length=255, blank=True, default="")
    supervisor_pid = models.PositiveIntegerField(null=True)
    pid = models.PositiveIntegerField(null=True)
    supervisor_seen_at = models.DateTimeField(null=True)
    kill_requested_at = models.DateTimeField(null=True)
    exit_status = models.IntegerField(null=True)
    exit_signal = models.PositiveSmallIntegerField(null=True)
    stderr_tail = models.TextField(blank=True, default="")
    exited_at = models.DateTimeField(null=True)

    # the connection
    connection = models.PositiveIntegerField(default=0, help_text="Counts up. An older connection changes nothing.")
    web_process = models.ForeignKey("WebProcess", on_delete=models.SET_NULL, null=True, related_name="+")
    connection_since = models.DateTimeField(null=True)
    connection_lost_at = models.DateTimeField(null=True)
    run_acked_at = models.DateTimeField(null=True)
    acked_event_seq = models.BigIntegerField(default=0)
    transcript_next = models.PositiveIntegerField(default=0)
    cancel_sent_at = models.DateTimeField(null=True)

    class Meta:
        ordering: ClassVar = ["session", "number"]
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["session", "number"], name="attempt_number_once"),
            # At most one attempt of a session can act (I8).
            models.UniqueConstraint(
                fields=["session"], condition=~models.Q(status__in=sorted(ENDED)), name="one_open_attempt"
            ),
            models.CheckConstraint(
                condition=models.Q(status__in=sorted(Status.values)), name="attempt_status_is_known"
            ),
            models.CheckConstraint(
                condition=models.Q(status__in=sorted(ENDED), ended_at__isnull=False)
                | (~models.Q(status__in=sorted(ENDED)) & models.Q(ended_at__isnull=True)),
                name="attempt_ends_once",
            ),
        ]
        indexes: ClassVar = [models.Index(fields=["status", "created_at"], name="attempt_by_status")]

    def __str__(self) -> str:
        return f"attempt {self.number} of {self.session_id}"


class HostBound(models.Model):
    """The most attempts of one runner on one host. Its row is the lock of the host's places."""

    host = models.CharField(max_length=255)
    runner = models.CharField(max_length=100)
    most = models.PositiveIntegerField()

    class Meta:
        constraints: ClassVar = [models.UniqueConstraint(fields=["host", "runner"], name="one_bound_of_a_host")]

    def __str__(self) -> str:
        return f"{self.most} {self.runner} on {self.host}"


class Place(models.Model):
    """A place that an attempt holds on a host, while its process may live. The row is deleted to free it."""

    session = models.OneToOneField(Session, on_delete=models.CASCADE, primary_key=True, related_name="held_place")
    attempt = models.PositiveIntegerField()
    project = models.ForeignKey(Project, on_delete=models.PROTECT, related_name="+", db_index=False)
    runner = models.CharField(max_length=100)
    host = models.CharField(max_length=255)
    taken_at = models.DateTimeField(db_default=Now(), editable=False)

    class Meta:
        indexes: ClassVar = [
            models.Index(fields=["host", "runner"], name="place_by_host"),
            models.Index(fields=["project", "runner"], name="place_by_project"),
        ]

    def __str__(self) -> str:
        return f"place of {self.session_id}/{self.attempt} on {self.host}"


class ProjectTurn(models.Model):
    """The time at which a project last got a place. The next one goes to the project with the oldest."""

    project = models.ForeignKey(Project, on_delete=models.CASCADE, related_name="+", db_index=False)
    runner = models.CharField(max_length=100)
    served_at = models.DateTimeField()

    class Meta:
        constraints: ClassVar = [models.UniqueConstraint(fields=["project", "runner"], name="one_turn_of_a_project")]

    def __str__(self) -> str:
        return f"turn of {self.project_id}"


class TranscriptItem(models.Model):
    """One item of the history, added by an attempt, with its position."""

    session = models.ForeignKey(Session, on_delete=models.PROTECT, related_name="transcript")
    attempt = models.PositiveIntegerField()
    position = models.PositiveIntegerField()
    role = models.CharField(max_length=40)
    content: models.JSONField[Any] = models.JSONField()
    # Bytes of the content as JSON. A page of the history reads the sizes before it loads the contents.
    size = models.PositiveIntegerField()
    item_id = models.CharField(max_length=256, blank=True, default="")
    at = models.DateTimeField(db_default=Now())

    class Meta:
        ordering: ClassVar = ["attempt", "position"]
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["session", "attempt", "position"], name="transcript_position_once"),
        ]
        indexes: ClassVar = [
            models.Index(fields=["session", "item_id"], name="transcript_item_by_id", condition=~models.Q(item_id="")),
        ]


class Snapshot(models.Model):
    """The latest snapshot event of each type in a session. Older ones are not kept."""

    session = models.ForeignKey(Session, on_delete=models.CASCADE, related_name="snapshots")
    attempt = models.PositiveIntegerField()
    seq = models.BigIntegerField()
    type = models.CharField(max_length=200)
    payload = models.JSONField(default=dict)
    at = models.DateTimeField(db_default=Now())

    class Meta:
        constraints: ClassVar = [models.UniqueConstraint(fields=["session", "type"], name="one_snapshot_of_a_type")]


class WebProcess(models.Model):
    """A web process and its lease. Its connections are live while its heartbeat is fresh."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4)
    host = models.CharField(max_length=255)
    pid = models.PositiveIntegerField()
    started_at = models.DateTimeField(db_default=Now())
    heartbeat_at = models.DateTimeField(db_default=Now(), db_index=True)

    class Meta:
        verbose_name_plural = "web processes"

    def __str__(self) -> str:
        return f"{self.host}:{self.pid}"
