"""The audit chain and the keys that sign receipts."""

from __future__ import annotations

from typing import ClassVar

from django.db import models

from accounts.models import Project
from core.db.clock import Now


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
