"""People, projects, and the one kind of credential behind API keys, child tokens and pool tokens."""

from __future__ import annotations

import uuid
from typing import Any, ClassVar

from django.contrib.auth.models import AbstractUser, Group
from django.db import models

from core.db.clock import Now


class User(AbstractUser):
    """A person on the staff. A custom model from the first migration, because it cannot be swapped in later."""

    def delete(self, *args: Any, **kwargs: Any) -> tuple[int, dict[str, int]]:
        """Keep the name, because records still refer to `user:7`."""
        self.keep_name()
        return super().delete(*args, **kwargs)

    def keep_name(self) -> None:
        """Store this person's name for after their row is deleted."""
        FormerName.objects.update_or_create(word=f"user:{self.pk}", defaults={"name": self.get_username()})


class FormerName(models.Model):
    """The name of a deleted person. Records keep words such as `user:7`."""

    word = models.CharField(max_length=40, unique=True)
    name = models.CharField(max_length=150)

    def __str__(self) -> str:
        return f"{self.name} ({self.word})"


class Project(models.Model):
    """The boundary between teams: every row of every app belongs to one project, and nothing crosses it (I11)."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    slug = models.SlugField(max_length=64, unique=True)
    name = models.CharField(max_length=200, blank=True)
    groups = models.ManyToManyField(
        Group, blank=True, related_name="projects", help_text="Members of these groups see the project."
    )
    max_processes = models.PositiveIntegerField(
        null=True,
        blank=True,
        help_text="The most process children at once. Empty: the setting processes_per_project. 0: none starts.",
    )
    created_at = models.DateTimeField(db_default=Now(), editable=False)

    class Meta:
        ordering: ClassVar = ["slug"]

    def __str__(self) -> str:
        return self.slug


class CredentialKind(models.TextChoices):
    API = "api", "API key"
    CHILD = "child", "child token"
    POOL = "pool", "pool token"


class Credential(models.Model):
    """One secret of a caller: shown once, stored as a hash, bound to a project.

    A child's token is also bound to (session, attempt): `subject` is the session's id, and the attempt is the fence.
    `ended_at` ends it. The row stays, so that an ended token can be distinguished from an unknown one.
    """

    public_id = models.CharField(max_length=32, unique=True, editable=False)
    secret_hash = models.CharField(max_length=64, editable=False)
    kind = models.CharField(max_length=8, choices=CredentialKind)
    project = models.ForeignKey(Project, on_delete=models.PROTECT, related_name="credentials")
    # Audit rows refer to keys, so an owner of keys is made inactive and not deleted.
    user = models.ForeignKey(User, on_delete=models.PROTECT, null=True, blank=True, related_name="credentials")
    name = models.CharField(max_length=200, blank=True)
    subject = models.CharField(max_length=64, blank=True, default="")
    attempt = models.PositiveIntegerField(null=True, blank=True)
    scopes = models.JSONField(default=list)
    created_at = models.DateTimeField(db_default=Now(), editable=False)
    expires_at = models.DateTimeField(null=True, blank=True)
    ended_at = models.DateTimeField(null=True, blank=True)

    # Facts from the database about its clock and the owner. `credentials.dated` and `effective_scopes.annotated` set
    # them.
    has_expired: bool
    owner_sees: bool
    owner_holds: str | None

    class Meta:
        verbose_name = "API key"
        ordering: ClassVar = ["-created_at", "-pk"]
        indexes: ClassVar = [models.Index(fields=["project", "subject", "attempt"], name="credential_by_subject")]
        constraints: ClassVar = [
            models.CheckConstraint(
                condition=models.Q(kind__in=sorted(CredentialKind.values)), name="credential_kind_is_known"
            ),
            # A child's token without an attempt would have no fence (I8).
            models.CheckConstraint(
                condition=~models.Q(kind="child") | (models.Q(attempt__isnull=False) & ~models.Q(subject="")),
                name="child_token_has_session_and_attempt",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.get_kind_display()} {self.name or self.public_id}"


class IdempotencyKey(models.Model):
    """The answer for a key and a body, kept as long as callers may repeat the call (24 h)."""

    credential = models.ForeignKey(Credential, on_delete=models.CASCADE, related_name="+")
    route = models.CharField(max_length=300)
    key = models.CharField(max_length=255)
    body_hash = models.CharField(max_length=64)
    status = models.PositiveSmallIntegerField(null=True)
    answer = models.JSONField(null=True)
    headers = models.JSONField(default=dict)
    created_at = models.DateTimeField(db_default=Now())

    class Meta:
        constraints: ClassVar = [
            # One caller's key means one call per route. The insert that loses waits for the winner's answer.
            models.UniqueConstraint(fields=["credential", "route", "key"], name="idempotency_key_once"),
        ]
        indexes: ClassVar = [models.Index(fields=["created_at"], name="idempotency_by_age")]
